"""Importance sampling: expectations under p from draws of q, weighted by w = p / q (kahn1951).

All functions take log-weights [N], log p(x_i) - log q(x_i) at x_i ~ q, and stay in logarithms.
Every estimate comes with its standard error; both mislead when few weights carry the sum: look at
`pareto_k` first, which sees a heavy tail that `effective_sample_size` does not. Weights of -inf
count as 0.
"""

import math

import jax
import jax.numpy as jnp
from jax.nn import softmax
from jax.scipy.special import logsumexp

from gen_jax.annotations import floats
from gen_jax.axes import expand
from gen_jax.errors import check_range
from gen_jax.sampling.categorical import categorical
from gen_jax.types import Array, Estimate, Float, Int, Num


@floats(log_weights="N")
def log_normalizer(log_weights: Float[Array, "N"]) -> Estimate:
    """log of the mean weight, in nats: log Z of an unnormalised p; with the delta-method error.

    Its expectation is below log Z (jensen1906), by about half the squared error.
    """
    value = logsumexp(log_weights) - jnp.log(log_weights.shape[0])
    relative = jnp.exp(log_weights - value)
    return Estimate(value, _standard_error(relative))


@floats(log_weights="N", values="N ...")
def importance_mean(log_weights: Float[Array, "N"], values: Float[Array, "N ..."]) -> Estimate:
    """E_p[f] from f(x_i) [N, ...], unbiased; both densities must be normalised."""
    terms = jnp.multiply(*_counted(jnp.exp(log_weights), values))
    return Estimate(jnp.mean(terms, 0), _standard_error(terms))


@floats(log_weights="N", values="N ...")
def self_normalised_mean(log_weights: Float[Array, "N"], values: Float[Array, "N ..."]) -> Estimate:
    """E_p[f] with weights divided by their sum: constants of p and q do not matter.

    Biased by O(1 / N); the error is the delta method's (owen2013, eq. 9.9).
    """
    share, values = _counted(softmax(log_weights), values)
    value = jnp.sum(share * values, 0)
    return Estimate(value, jnp.sqrt(jnp.sum((share * (values - value)) ** 2, 0)))


@floats(log_weights="N")
def effective_sample_size(log_weights: Float[Array, "N"]) -> Float[Array, ""]:
    """(sum w)^2 / sum w^2, from 1 to N: how many equal weights would do as well (kong1992)."""
    return jnp.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights))


@floats(log_weights="N")
@jax.jit
def pareto_k(log_weights: Float[Array, "N"]) -> Float[Array, ""]:
    """Shape k of a generalised Pareto law fitted to the largest weights (vehtari2024 sec. 3).

    A mean of weights has a finite variance for k < 1/2, a mean for k < 1. Estimates and their
    errors are to be trusted for k < min(1 - 1 / log10 N, 0.7) only. The fit is zhang2009's, to the
    min(N / 5, 3 sqrt N) largest, with the weak prior of vehtari2024 appendix C.
    Infinite where fewer than five weights are in the tail (N < 21), and where all weights are 0:
    then nothing is known; and -infinite where all weights are equal.
    """
    n = log_weights.shape[0]
    size = min(math.ceil(min(n / 5, 3 * n**0.5)), n - 1)
    largest = jnp.max(log_weights)
    none = jnp.isneginf(largest)
    equal = jnp.where((jnp.min(log_weights) == largest) & ~none, -jnp.inf, jnp.inf)
    if size < 5:
        return equal
    scaled = jnp.sort(log_weights - jnp.where(none, 0, largest))
    lowest = jnp.maximum(scaled[n - size - 1], jnp.log(jnp.finfo(scaled.dtype).tiny))
    tail = jnp.exp(scaled[n - size :]) - jnp.exp(lowest)
    return jnp.minimum(_pareto_shape(jnp.maximum(tail, 0)), equal)


def _pareto_shape(tail: Float[Array, "M"]) -> Float[Array, ""]:
    """zhang2009's estimate from rising exceedances; those of 0 do not count."""
    largest_grid, kept = 30 + int(len(tail) ** 0.5), tail > 0
    count = kept.sum()
    safe = jnp.maximum(count, 1).astype(tail.dtype)
    quartile = tail[len(tail) - count + jnp.maximum((safe / 4 + 0.5).astype(int) - 1, 0)]
    grid_size = 30 + jnp.floor(jnp.sqrt(safe))
    index = jnp.arange(1, largest_grid + 1)
    inside = index <= grid_size
    steps = 1 - jnp.sqrt(grid_size / (index - 0.5))
    b = jnp.where(inside, steps / (3 * quartile) + 1 / tail[-1], 1 / tail[-1] / 2)

    def shape(b):
        return jnp.sum(jnp.where(kept, jnp.log1p(-b * tail), 0)) / safe

    each = jax.vmap(shape)(b)
    profile = safe * (jnp.log(-b / each) - each - 1)
    weights = softmax(jnp.where(inside & jnp.isfinite(profile), profile, -jnp.inf))
    mean = jnp.sum(weights * b)
    return jnp.where(count < 5, jnp.inf, (safe * shape(mean) + 10 * 0.5) / (safe + 10))


@floats(u="", log_weights="N")
def resample(u: Float[Array, ""], log_weights: Float[Array, "N"], n: int) -> Int[Array, "n"]:
    """n indices drawn with chances proportional to the weights, systematically (kitagawa1996).

    Index i comes floor or ceil of n w_i / sum(w) times. One uniform u in [0, 1) serves all.
    """
    check_range("n", n, 1, integer=True)
    shares = softmax(log_weights)
    return categorical((jnp.arange(n) + u) / n, shares)


def _counted(weights: Array, values: Num[Array, "N ..."]) -> tuple[Array, Array]:
    """Weights that broadcast over the values, and these, 0 where the weight is 0."""
    weights = expand(weights, values)
    return weights, jnp.where(weights == 0, 0, values)


def _standard_error(terms: Float[Array, "N ..."]) -> Array:
    return jnp.std(terms, axis=0, ddof=1) / jnp.sqrt(terms.shape[0])
