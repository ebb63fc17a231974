"""Moment matching posterior sampling (rozet2024): Cov[x0 | x_t] from the denoiser."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gen_jax.axes import expand
from gen_jax.checks import no_type_check
from gen_jax.errors import check_range
from gen_jax.inverse.measurements import (
    check_noise,
    checked_linear,
    denoised_with_covariance,
    measurements,
)
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.paths import GaussianPath, as_path
from gen_jax.types import Array, Denoiser, Float


def conjugate_gradients(apply, b: Float[Array, "B ..."], iterations: int) -> Float[Array, "B ..."]:
    """x [B, ...] with apply(x) = b for symmetric positive definite maps, one for each example.

    An example stops where its residual is zero (hestenes1952).
    """
    dot = lambda a, b: jnp.sum(a * b, axis=tuple(range(1, a.ndim)))
    ratio = lambda a, b: jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)

    def iterate(_, carry):
        x, residual, direction, square = carry
        image = apply(direction)
        step = expand(ratio(square, dot(direction, image)), x)
        x, residual = x + step * direction, residual - step * image
        new = dot(residual, residual)
        return x, residual, residual + expand(ratio(new, square), x) * direction, new

    start = (jnp.zeros_like(b), b, b, dot(b, b))
    return jax.lax.fori_loop(0, iterations, iterate, start)[0]


@no_type_check
def moment_matching(
    denoise: Denoiser,
    path: GaussianPath,
    operator: LinearOperator | Operator,
    y: ArrayLike,
    noise_std: float,
    iterations: int = 5,
) -> Denoiser:
    """D + C A^T (noise_std^2 I + A C A^T)^-1 (y - A D), with C = (sigma^2 / alpha) (dD / dx)^T.

    Exact for Gaussian data of any covariance once the conjugate gradients have converged, after at
    most as many iterations as there are measurements. Each iteration costs one derivative of the
    network.

    Args:
      y: measurements [B, *measured], or one [*measured] for all samples.
      noise_std: above 0: it keeps the system positive definite.
    Raises ConfigError for an operator that is not linear, and values that cannot be.
    """
    path, linear = as_path(path), checked_linear("moment_matching", operator)
    check_noise(noise_std, positive=True)
    check_range("iterations", iterations, 1, integer=True)

    def guided(x, t):
        x0, covariance = denoised_with_covariance(denoise, path, x, t)
        residual = measurements(operator, y, x) - linear.apply(x0)
        marginal = lambda v: noise_std**2 * v + linear.apply(covariance(linear.adjoint(v)))
        solved = conjugate_gradients(marginal, residual, iterations)
        return x0 + covariance(linear.adjoint(solved))

    return guided
