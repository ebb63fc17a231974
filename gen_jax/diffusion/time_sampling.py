"""Densities of the training time: `(key, path, n) -> t [n]` in [T_MIN, T_MAX]."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.errors import check_range
from gen_jax.paths import GaussianPath, coefficients, time_of_log_snr
from gen_jax.registries import described
from gen_jax.types import Array, Float, Key

T_MIN = 1e-4
"""Training stays this far from t = 0, where eps is not determined by x."""

T_MAX = 1 - 2.0**-24
"""The largest float32 below t = 1, where x0 is not determined by x on paths with alpha(1) = 0."""


def inside(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """t clipped to [T_MIN, T_MAX]: rounding puts some times on 1."""
    return jnp.clip(t, T_MIN, T_MAX)


def off_the_steep(path: GaussianPath, t: Float[Array, "..."]) -> Float[Array, "..."]:
    """t, at least T_MIN where sigma'(0) is infinite (vp, ddpm), so that velocities are finite."""
    steep = ~jnp.isfinite(coefficients(path, jnp.zeros((), t.dtype)).d_sigma)
    return jnp.where(steep & (t < T_MIN), T_MIN, t)


@floats(key="key")
def uniform(key: Key[Array, ""], path: GaussianPath, n: int) -> Float[Array, "n"]:
    """Independent uniform times."""
    return inside(jax.random.uniform(key, (n,), minval=T_MIN, maxval=1.0))


@floats(key="key")
def low_discrepancy(key: Key[Array, ""], path: GaussianPath, n: int) -> Float[Array, "n"]:
    """Evenly spaced times with one shared random offset (kingma2021, app. I.1), in random order.

    Each time is uniform by itself; the batch mean of a loss has a smaller variance.
    """
    key_offset, key_order = jax.random.split(key)
    grid = (jnp.arange(n) + jax.random.uniform(key_offset)) / n
    return inside(T_MIN + (1 - T_MIN) * jax.random.permutation(key_order, grid))


def logit_normal(mean: float = 0.0, std: float = 1.0) -> Callable[..., Array]:
    """t = sigmoid(N(mean, std^2)) (esser2024 eq. 19)."""
    check_range("std", std, 0, open_low=True)

    @floats(key="key")
    def times(key: Key[Array, ""], path: GaussianPath, n: int) -> Float[Array, "n"]:
        return inside(jax.nn.sigmoid(mean + std * jax.random.normal(key, (n,))))

    return times


def log_normal(mean: float = -1.2, std: float = 1.2) -> Callable[..., Array]:
    """Noise levels with log(sigma / alpha) ~ N(mean, std^2) (karras2022, table 1)."""
    check_range("std", std, 0, open_low=True)

    @floats(key="key")
    def times(key: Key[Array, ""], path: GaussianPath, n: int) -> Float[Array, "n"]:
        log_level = mean + std * jax.random.normal(key, (n,))
        return inside(time_of_log_snr(path, -2 * log_level))

    return times


TIME_DENSITIES: dict[str, Callable[..., Array]] = {
    "uniform": uniform,
    "low_discrepancy": low_discrepancy,
    "logit_normal": described(
        "t = sigmoid(N(0, 1)) (esser2024 eq. 19): the middle more often.", logit_normal()
    ),
    "log_normal": described(
        "log(sigma / alpha) ~ N(-1.2, 1.2^2) (karras2022, table 1).", log_normal()
    ),
}
"""Every density of training times by name, at its paper's settings."""
