"""What the solvers share: checked measurements, and how far x0 is known at a time of the path."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gen_jax.axes import expand
from gen_jax.checks import as_array, as_floats, is_known, no_type_check, same_shape
from gen_jax.errors import ConfigError, check_range, shown
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.paths import GaussianPath, with_signal
from gen_jax.ranges import HUGE, TINY
from gen_jax.types import Array, Denoiser, Float


def check_operator(operator: Any) -> LinearOperator | Operator:
    """Return what is measured; raises ConfigError for what is no operator."""
    if not isinstance(operator, LinearOperator | Operator):
        raise ConfigError(
            f"operator={shown(operator)} must be one that a function of OPERATORS makes"
        )
    return operator


@no_type_check
def checked_linear(solver: str, operator: LinearOperator | Operator) -> LinearOperator:
    """The operator; raises ConfigError unless it is linear."""
    if not isinstance(check_operator(operator), LinearOperator):
        raise ConfigError(
            f"{solver} needs a linear operator, got {type(operator).__name__} "
            "(for operators that are not linear choose dps or latent_search)"
        )
    return operator  # type: ignore[return-value]


def check_noise(noise_std: Any, data_std: Any = 1.0, *, positive: bool = False) -> None:
    """Raise ConfigError unless both are one number with a finite square, data_std > 0, and
    noise_std >= 0, or > 0. Of what jax traces only the shape is looked at.
    """
    for name, value, open_low in (("noise_std", noise_std, positive), ("data_std", data_std, True)):
        if isinstance(value, jax.Array):
            if value.ndim:
                raise ConfigError(f"{name}={shown(value)} must be one number")
            if not is_known(value):
                continue
            value = float(value)
        check_range(name, value, 0, math.inf, open_low=open_low)
        if not math.isfinite(value):
            raise ConfigError(f"{name}={value!r} must be finite")
        if value and not TINY**0.5 <= value <= HUGE**0.5:
            raise ConfigError(
                f"{name}={value!r} must be 0 or of a size in [{TINY**0.5:.3g}, {HUGE**0.5:.3g}], "
                "whose squares float32 holds"
            )


@no_type_check
def measurements(
    operator: LinearOperator | Operator, y: ArrayLike, x: Float[Array, "B ..."]
) -> Float[Array, "B ..."]:
    """y [B, *measured] for samples x [B, *shape], from one measurement or one for each sample.

    Raises ConfigError for another shape, DataError for values that are not finite.
    """
    y, measured = jnp.asarray(as_array("y", y), x.dtype), check_operator(operator).measured
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
    sigma = path.sigma(t)
    norm = jnp.hypot(path.alpha(t) * data_std, sigma)
    return (sigma * (data_std / jnp.where(norm > 0, norm, 1))) ** 2


@no_type_check
def denoised_with_covariance(
    denoise: Denoiser, path: GaussianPath, x: Float[Array, "B ..."], t: Float[Array, "B"]
) -> tuple[Float[Array, "B ..."], Callable[[Array], Array]]:
    """D = E[x0 | x_t] and `v -> Cov[x0 | x_t] v = (sigma^2 / alpha) (dD / dx)^T v` (efron2011).

    Where alpha vanishes the factor has a pole that dD / dx cancels; there both are evaluated at
    `paths.with_signal`.
    """
    denoise, x = same_shape("denoise", denoise), as_floats("x", x)
    x, t = with_signal(path, x, as_floats("t", t))
    x0, pull_back = jax.vjp(lambda x: denoise(x, t), x)
    factor = expand(path.sigma(t) ** 2 / path.alpha(t), x)
    covariance = lambda v: factor.astype(x.dtype) * pull_back(v.astype(x0.dtype))[0]
    return x0.astype(x.dtype), covariance


def noise_variance(operator: LinearOperator | Operator, noise_std: Any, dtype: Any) -> Array:
    """noise_std^2, and the variance of the operator's rounding beside it."""
    rounding = np.square(getattr(operator, "rounding_std", 0.0))
    return jnp.asarray(noise_std**2 + rounding, dtype)
