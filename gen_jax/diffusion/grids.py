"""Time grids: falling times [n + 1] from noise to 0, the data."""

from collections.abc import Callable

import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.paths import GaussianPath, log_snr, time_of_log_snr
from gen_jax.types import Array, Float

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
"""karras2022's range of noise levels sigma / alpha, clipped to what a path offers."""


def uniform(path: GaussianPath, n: int) -> Float[Array, " times"]:
    """n equal steps in t from 1 to 0."""
    check_range("steps", n, 1, integer=True)
    return jnp.linspace(1, 0, n + 1)


def _levels_to_times(path: GaussianPath, levels: Array) -> Array:
    """Times of falling noise levels sigma / alpha, then 0; the first is the path's noisy end."""
    times = time_of_log_snr(path, -2 * jnp.log(levels)).at[0].set(1.0)
    return jnp.concatenate([times, jnp.zeros(1)])


def _ends(path: GaussianPath, sigma_min: float, sigma_max: float) -> tuple[Array, Array]:
    ends = jnp.exp(-0.5 * log_snr(path, jnp.array([0.0, 1.0])))
    return jnp.maximum(sigma_min, ends[0]), jnp.minimum(sigma_max, ends[1])


def karras(
    path: GaussianPath,
    n: int,
    *,
    rho: float = 7.0,
    sigma_min: float = SIGMA_MIN,
    sigma_max: float = SIGMA_MAX,
) -> Float[Array, " times"]:
    """karras2022 eq. 5: noise levels sig with sig^(1 / rho) uniform; the warp is not on t."""
    check_range("steps", n, 1, integer=True)
    low, high = _ends(path, sigma_min, sigma_max)
    ramp = jnp.linspace(0, 1, n)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return _levels_to_times(path, levels)


def log_snr_uniform(
    path: GaussianPath, n: int, *, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX
) -> Float[Array, " times"]:
    """Noise levels uniform in log(sigma / alpha): the grid that DPM-Solver++ is meant for."""
    check_range("steps", n, 1, integer=True)
    low, high = _ends(path, sigma_min, sigma_max)
    levels = jnp.exp(jnp.linspace(jnp.log(high), jnp.log(low), n))
    return _levels_to_times(path, levels)


def ddpm_subsequence(
    path: GaussianPath, n: int, *, num_steps: int = 1000
) -> Float[Array, " times"]:
    """n of DDPM's `num_steps` times (k + 1) / T, trailing spacing (lin2024, table 2), then 0."""
    check_range("steps", n, 1, num_steps, integer=True)
    return jnp.round(jnp.linspace(num_steps, 0, n + 1)) / num_steps


def ends(path: GaussianPath, n: int = 2) -> Float[Array, "3"]:
    """The noisy end, the cleanest level, and 0: for steppers that choose their own steps."""
    return _levels_to_times(path, jnp.stack(_ends(path, SIGMA_MIN, SIGMA_MAX)[::-1]))


GRIDS: dict[str, Callable[..., Array]] = {
    "uniform": uniform,
    "karras": karras,
    "log_snr": log_snr_uniform,
    "ddpm_subsequence": ddpm_subsequence,
    "ends": ends,
}
"""Every time grid by name: `(path, n) -> times [n + 1]`."""
