"""Diffusion posterior sampling (chung2023dps), for any operator that jax can differentiate."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gen_jax.axes import expand
from gen_jax.checks import no_type_check
from gen_jax.errors import check_choice, check_finite, check_range
from gen_jax.inverse.measurements import (
    check_noise,
    check_operator,
    denoised_with_covariance,
    measurements,
    noise_variance,
)
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.paths import GaussianPath, as_path
from gen_jax.types import Denoiser


@no_type_check
def dps(
    denoise: Denoiser,
    path: GaussianPath,
    operator: LinearOperator | Operator,
    y: ArrayLike,
    noise_std: float,
    weight: float = 1.0,
    *,
    scale: str = "likelihood",
) -> Denoiser:
    """D plus weight times (sigma^2 / alpha) grad_x log N(y; A(D(x)), noise_std^2 I).

    An operator that rounds (JPEG) has the variance of its rounding beside that of the noise.

    Args:
      y: measurements [B, *measured], or one [*measured] for all samples.
      noise_std: above 0, in the units of the image.
      weight: 1 is the likelihood's own gradient.
      scale: "likelihood", or "residual_norm": the gradient is divided by |y - A(D)| instead of
        noise_std^2, the heuristic of the authors' code (weight is then its step size zeta, and
        noise_std is not used).
    Raises ConfigError for values out of range and y of another shape.
    """
    check_choice("scale", scale, ("likelihood", "residual_norm"))
    check_finite("weight", check_range("weight", weight, 0))
    if scale == "likelihood":
        check_noise(noise_std, positive=True)
    path, operator = as_path(path), check_operator(operator)

    def guided(x, t):
        x0, covariance = denoised_with_covariance(denoise, path, x, t)
        predicted, pull_back = jax.vjp(operator.apply, x0)
        residual = measurements(operator, y, x) - predicted
        if scale == "likelihood":
            pulled = pull_back(residual / noise_variance(operator, noise_std, residual.dtype))[0]
        else:
            norm = jnp.sqrt(jnp.sum(residual**2, axis=tuple(range(1, residual.ndim))))
            pulled = pull_back(residual / expand(jnp.maximum(norm, 1e-12), residual))[0]
        return x0 + weight * covariance(pulled)

    return guided
