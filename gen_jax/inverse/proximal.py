"""Proximal guidance without a derivative of the network (zhu2023, DiffPIR, eq. 12 and 13)."""

from jax.typing import ArrayLike

from gen_jax.axes import expand
from gen_jax.checks import no_type_check, same_shape
from gen_jax.inverse.measurements import (
    check_noise,
    checked_linear,
    measurements,
    posterior_variance,
)
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.paths import GaussianPath, as_path
from gen_jax.types import Denoiser


@no_type_check
def proximal(
    denoise: Denoiser,
    path: GaussianPath,
    operator: LinearOperator | Operator,
    y: ArrayLike,
    noise_std: float,
    data_std: float = 1.0,
) -> Denoiser:
    """The denoised point, moved to the mode of N(x0; D, q^2 I) N(y; A x0, noise_std^2 I):

        D + q^2 A^T (q^2 A A^T + noise_std^2 I)^-1 (y - A D),

    with q^2 = sigma^2 data_std^2 / (alpha^2 data_std^2 + sigma^2), the variance of x0 given x_t for
    data of standard deviation `data_std`.

    Args:
      y: measurements [B, *measured], or one [*measured] for all samples.
    Raises ConfigError for an operator that is not linear, and y or noise_std that cannot be.
    """
    path, linear = as_path(path), checked_linear("proximal", operator)
    check_noise(noise_std, data_std)
    denoise = same_shape("denoise", denoise)

    def guided(x, t):
        x0 = denoise(x, t)
        q2 = posterior_variance(path, t, data_std)
        residual = measurements(operator, y, x) - linear.apply(x0)
        solved = linear.solve(residual, q2, noise_std**2)
        return x0 + expand(q2, x) * linear.adjoint(solved)

    return guided
