"""How well chains have mixed: effective sample size, R-hat, autocorrelation time, modes visited.

Samples are [T, B, ...]: T steps of B chains, as `run` returns them. None of these numbers proves
that a chain found every mode: R-hat can be 1.000 with all chains in one of eight modes.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.scipy.stats import rankdata

from gen_jax.annotations import floats
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Num


def _checked(samples: Num[Array, "T B ..."]) -> Float[Array, "T B ..."]:
    """The samples as float32 or wider; raises ConfigError for fewer than four steps."""
    samples = jnp.asarray(samples)
    if samples.ndim < 2 or samples.shape[0] < 4:
        raise ConfigError(f"samples have shape {samples.shape}, allowed: [T, B, ...] with T >= 4")
    floating = jnp.issubdtype(samples.dtype, jnp.floating)
    wide = jnp.promote_types(samples.dtype, jnp.float32) if floating else float
    return samples.astype(wide)


def _centred(x: Float[Array, "T ..."]) -> tuple[Float[Array, "T ..."], Float[Array, "..."]]:
    """Deviations from the mean over the first axis, and the mean; exactly 0 where all are equal.

    The mean of equal numbers is rounded, so that their distances from it need not be 0.
    """
    mean = jnp.where((x == x[0]).all(0), x[0], x.mean(0))
    return x - mean, mean


def _unit(x: Float[Array, "T B ..."]) -> Float[Array, "T B ..."]:
    """Moved and scaled to numbers of size 1, whose squares neither overflow nor vanish."""
    x = x - x[0, 0]
    size = jnp.abs(x).max((0, 1))
    return x / jnp.where(size > 0, size, 1)


def autocovariance(samples: Num[Array, "T ..."]) -> Float[Array, "T ..."]:
    """Autocovariance of each series at lags 0 .. T - 1, with divisor T, by FFT."""
    count = samples.shape[0]
    centred, _ = _centred(samples)
    spectrum = jnp.fft.rfft(centred, 2 * count, axis=0)
    return jnp.fft.irfft(jnp.abs(spectrum) ** 2, 2 * count, axis=0)[:count] / count


def split_chains(samples: Num[Array, "T B ..."]) -> Num[Array, "half B2 ..."]:
    """Each chain's first and second half as two chains; an odd middle step is left out."""
    half = samples.shape[0] // 2
    return jnp.concatenate([samples[:half], samples[-half:]], 1)


def rank_normalise(samples: Num[Array, "T B ..."]) -> Float[Array, "T B ..."]:
    """Normal scores of the ranks over all chains (vehtari2021 eq. 14)."""
    count = samples.shape[0] * samples.shape[1]
    ranks = rankdata(samples.reshape(count, *samples.shape[2:]), axis=0)
    return ndtri((ranks - 0.375) / (count + 0.25)).reshape(samples.shape)


def _variances(samples: Array) -> tuple[Array, Array]:
    """Mean variance within the chains, and the pooled estimate (vehtari2021 eq. 1-3)."""
    count, chains = samples.shape[:2]
    variance = lambda centred: jnp.sum(centred**2, 0) / (len(centred) - 1)
    centred, means = _centred(samples)
    within = variance(centred).mean(0)
    between = variance(_centred(means)[0]) if chains > 1 else jnp.zeros_like(within)
    return within, (count - 1) / count * within + between


def _r_hat(samples: Array) -> Array:
    """Infinite where no chain moves and two differ, NaN where all samples are equal."""
    within, pooled = _variances(samples)
    return jnp.sqrt(pooled / within)


def _where_numbers(value: Array, samples: Array) -> Array:
    """NaN where a sample is NaN: a rank would hide it."""
    return jnp.where(jnp.isnan(samples).any((0, 1)), jnp.nan, value)


@floats(samples="...")
@jax.jit
def split_r_hat(samples: Num[Array, "T B ..."]) -> Float[Array, "..."]:
    """Rank-normalised split R-hat of each coordinate (vehtari2021 sec. 4): mix until below 1.01.

    The larger of that of the samples and that of their distances from the median, so that chains of
    unequal spread are noticed. Infinite where no chain moves and two differ; NaN where all samples
    are equal, or one is NaN.
    Raises ConfigError unless samples are [T, B, ...] with T >= 4.
    """
    halves = split_chains(_checked(samples))
    folded = jnp.abs(halves - jnp.median(halves, (0, 1)))
    # Of two values with equal counts all distances from the median are equal: they say nothing.
    largest = jnp.fmax(_r_hat(rank_normalise(halves)), _r_hat(rank_normalise(folded)))
    return _where_numbers(largest, halves)


def _time(samples: Array) -> Array:
    """Autocorrelation time of pooled chains by Geyer's initial monotone sequence, as Stan has it.

    Sums of neighbouring pairs of autocorrelations are positive and fall for a reversible chain: cut
    at the first that is not positive (at the latest at the last pair but one), and hold each down
    to the smallest before it. Of the pair at the cut, its even lag counts once where it is
    positive. The autocovariances have the divisor n at every lag.
    """
    count, samples = samples.shape[0], _unit(samples)
    within, pooled = _variances(samples)
    last = max((count - 3) // 2, 0)
    lags = autocovariance(samples)[: 2 * last + 2].mean(1)
    rho = (1 - (within - lags) / pooled).at[0].set(1)
    even = rho[::2]
    pairs = even + rho[1::2]
    kept = jnp.cumprod(pairs > 0, 0).at[last].set(0)
    cut = jnp.concatenate([jnp.ones_like(kept[:1]), kept[:-1]]) - kept
    monotone = jax.lax.cummin(pairs, axis=0) * kept
    time = 2 * monotone.sum(0) - 1 + (jnp.maximum(even, 0) * cut).sum(0)
    return jnp.maximum(time, 1 / jnp.log10(samples.shape[0] * samples.shape[1]))


@floats(samples="...")
@jax.jit
def integrated_autocorrelation_time(samples: Num[Array, "T B ..."]) -> Float[Array, "..."]:
    """Steps per independent sample, 1 + 2 sum of autocorrelations, of each coordinate.

    Geyer's initial monotone sequence (geyer1992 sec. 3.3) on split chains, whose distance from each
    other counts (vehtari2021 eq. 10-13), cut and normalised as Stan and arviz do. NaN where all
    samples are equal. At least 1 / log10(T B), reached by antithetic chains.
    Raises ConfigError unless samples are [T, B, ...] with T >= 4.
    """
    return _time(split_chains(_checked(samples)))


@floats(samples="...")
@jax.jit(static_argnames="rank_normalised")
def effective_sample_size(
    samples: Num[Array, "T B ..."], *, rank_normalised: bool = False
) -> Float[Array, "..."]:
    """Independent samples worth as much as these T B for the mean of each coordinate.

    `rank_normalised` gives the bulk effective sample size of vehtari2021, which exists for heavy
    tails too. NaN where all samples are equal, or one is NaN.
    Raises ConfigError unless samples are [T, B, ...] with T >= 4.
    """
    halves = split_chains(_checked(samples))
    scores = rank_normalise(halves) if rank_normalised else halves
    return _where_numbers(halves.shape[0] * halves.shape[1] / _time(scores), halves)


@floats(samples="...", modes="...")
@jax.jit
def mode_occupancy(samples: Num[Array, "T B D"], modes: Num[Array, "K D"]) -> Float[Array, "B K"]:
    """The share of each chain's samples whose nearest mode is k, by Euclidean distance.

    Rows with one entry of 1 are chains that never left their mode, which R-hat need not show.
    """
    chains = jnp.moveaxis(jnp.asarray(samples), 0, 1)
    dtype = jnp.result_type(chains, modes, jnp.float32)
    chains, modes = chains.astype(dtype), jnp.asarray(modes, dtype)

    def share(chain):
        # By differences: far from 0 the squares would hide them.
        squares = jnp.sum((chain[:, None] - modes) ** 2, -1)
        return jnp.bincount(jnp.argmin(squares, 1), length=len(modes)) / len(chain)

    return jax.lax.map(share, chains)
