"""Whether posterior samples are calibrated: ranks of the truth and coverage of central intervals.

When the truth x0 and S samples are exchangeable given y (as they are when x0 ~ p(x0), y ~ p(y | x0)
and the samples are exact draws of p(x0 | y)), the rank of each value of x0 among its samples is
uniform on 0 .. S (talts2018).
"""

import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.checks import as_array
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int


def _check(samples, truth) -> None:
    if samples.ndim != truth.ndim + 1 or samples.shape[:1] + samples.shape[2:] != truth.shape:
        raise ConfigError(
            f"samples {samples.shape} must be [N, S, ...] and truth {truth.shape} [N, ...]"
        )

    for name, values in (("samples", samples), ("truth", truth)):
        as_array(name, values)


@floats(samples="...", truth="...")
def ranks(samples: Float[Array, "..."], truth: Float[Array, "..."]) -> Int[Array, "..."]:
    """How many of the samples [N, S, ...] lie below the truth [N, ...], for each value: 0 .. S.

    Raises ConfigError for shapes that do not belong together, DataError for NaN.
    """
    _check(samples, truth)
    return jnp.sum(samples < truth[:, None], axis=1)


@floats(samples="...", truth="...")
def coverage(
    samples: Float[Array, "..."], truth: Float[Array, "..."], level: float
) -> Float[Array, ""]:
    """The share of true values inside the samples' central interval of this level.

    Ends are interpolated quantiles: exact draws cover with probability level (S - 1) / (S + 1).
    Raises ConfigError for shapes that do not belong together, a level outside (0, 1] or S < 2,
    DataError for NaN.
    """
    _check(samples, truth)
    check_range("level", level, 0, 1, open_low=True)
    if samples.shape[1] < 2:
        raise ConfigError(f"samples {samples.shape} must hold at least 2 for each truth")
    ends = jnp.quantile(samples, jnp.array([(1 - level) / 2, (1 + level) / 2]), axis=1)
    return jnp.mean((truth >= ends[0]) & (truth <= ends[1]))
