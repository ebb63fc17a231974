"""Pseudo-inverse guidance (song2023pigdm): Cov[x0 | x_t] is taken to be q^2 I."""

from jax.typing import ArrayLike

from gen_jax.checks import no_type_check
from gen_jax.inverse.measurements import (
    check_noise,
    checked_linear,
    denoised_with_covariance,
    measurements,
    posterior_variance,
)
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.paths import GaussianPath, as_path
from gen_jax.types import Denoiser


@no_type_check
def pseudo_inverse_guidance(
    denoise: Denoiser,
    path: GaussianPath,
    operator: LinearOperator | Operator,
    y: ArrayLike,
    noise_std: float,
    data_std: float = 1.0,
) -> Denoiser:
    """D + C A^T (q^2 A A^T + noise_std^2 I)^-1 (y - A D), with C = (sigma^2 / alpha) (dD / dx)^T.

    q^2 = sigma^2 data_std^2 / (alpha^2 data_std^2 + sigma^2). Exact when the data are
    N(m, data_std^2 I): then C = q^2 I. noise_std = 0 asks for agreement with y.

    Args:
      y: measurements [B, *measured], or one [*measured] for all samples.
    Raises ConfigError for an operator that is not linear, and y or noise_std that cannot be.
    """
    path, linear = as_path(path), checked_linear("pseudo_inverse_guidance", operator)
    check_noise(noise_std, data_std)

    def guided(x, t):
        x0, covariance = denoised_with_covariance(denoise, path, x, t)
        residual = measurements(operator, y, x) - linear.apply(x0)
        q2 = posterior_variance(path, t, data_std)
        return x0 + covariance(linear.adjoint(linear.solve(residual, q2, noise_std**2)))

    return guided
