"""What the solvers share: checked measurements, and how far x0 is known at a time of the path."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gen_jax.checks import as_array, same_shape
from gen_jax.errors import ConfigError, check_range
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.paths import GaussianPath, expand, with_signal
from gen_jax.types import Array, Denoiser, Float


def checked_linear(solver: str, operator: LinearOperator | Operator) -> LinearOperator:
    """The operator; raises ConfigError unless it is linear."""
    if not isinstance(operator, LinearOperator):
        raise ConfigError(
            f"{solver} needs a linear operator, got {type(operator).__name__} "
            "(for operators that are not linear choose dps or twisted_smc)"
        )
    return operator


def check_noise(noise_std: float, data_std: float = 1.0, *, positive: bool = False) -> None:
    """Raise ConfigError unless both are finite, data_std > 0, and noise_std >= 0, or > 0."""
    for name, value, open_low in (("noise_std", noise_std, positive), ("data_std", data_std, True)):
        if not isinstance(value, jax.Array):
            check_range(name, value, 0, math.inf, open_low=open_low)
            if not math.isfinite(value):
                raise ConfigError(f"{name}={value!r} must be finite")


def measurements(
    operator: LinearOperator | Operator, y: ArrayLike, x: Float[Array, "B ..."]
) -> Float[Array, "B ..."]:
    """y [B, *measured] for samples x [B, *shape], from one measurement or one for each sample.

    Raises ConfigError for another shape.
    """
    y, measured = jnp.asarray(as_array("y", y, finite=False), x.dtype), operator.measured
    if y.shape not in (measured, (1, *measured), (x.shape[0], *measured)):
        raise ConfigError(
            f"y must have the shape of one measurement, {list(measured)}, or of one for each of "
            f"{x.shape[0]} samples, got {list(y.shape)}"
        )
    return jnp.broadcast_to(y, (x.shape[0], *measured))


def posterior_variance(
    path: GaussianPath, t: Float[Array, "B"], data_std: float
) -> Float[Array, "B"]:
    """Var[x0 | x_t] for data N(m, sd^2): sigma^2 sd^2 / (alpha^2 sd^2 + sigma^2)."""
    signal, noise = (path.alpha(t) * data_std) ** 2, path.sigma(t) ** 2
    return noise * data_std**2 / jnp.where(signal + noise > 0, signal + noise, 1)


def denoised_with_covariance(
    denoise: Denoiser, path: GaussianPath, x: Float[Array, "B ..."], t: Float[Array, "B"]
) -> tuple[Float[Array, "B ..."], Callable[[Array], Array]]:
    """D = E[x0 | x_t] and `v -> Cov[x0 | x_t] v = (sigma^2 / alpha) (dD / dx)^T v` (efron2011).

    Where alpha vanishes the factor has a pole that dD / dx cancels; there both are evaluated at
    `paths.with_signal`.
    """
    denoise, (x, t) = same_shape("denoise", denoise), with_signal(path, x, t)
    x0, pull_back = jax.vjp(lambda x: denoise(x, t), x)
    factor = expand(path.sigma(t) ** 2 / path.alpha(t), x)
    return x0, lambda v: factor.astype(x.dtype) * pull_back(v)[0]
