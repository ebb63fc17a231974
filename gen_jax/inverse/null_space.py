"""Denoising diffusion null-space model (wang2023ddnm, eq. 12): exact agreement with y."""

from jax.typing import ArrayLike

from gen_jax.checks import no_type_check, same_shape
from gen_jax.inverse.measurements import checked_linear, measurements
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.types import Denoiser


@no_type_check
def null_space(denoise: Denoiser, operator: LinearOperator | Operator, y: ArrayLike) -> Denoiser:
    """D + A^+ (y - A D): what A measures comes from y, the rest from the denoiser; no noise in y.

    Args:
      y: measurements [B, *measured], or one [*measured] for all samples.
    Raises ConfigError for an operator that is not linear and y of another shape.
    """
    linear = checked_linear("null_space", operator)
    denoise = same_shape("denoise", denoise)

    def guided(x, t):
        x0 = denoise(x, t)
        return x0 + linear.pseudo_inverse(measurements(operator, y, x) - linear.apply(x0))

    return guided
