"""Any Gaussian from standard normal numbers: x = mean + L z with L L^T = covariance (S2, S3).

Everywhere in this package the covariance's axes say its kind:

    []      variance of an isotropic Gaussian
    [D]     variances of a diagonal one
    [D, D]  a full covariance, factored by Cholesky
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from gen_jax.annotations import floats
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Key

LOG_2_PI = math.log(2 * math.pi)


@floats(covariance="...")
def scale_factor(covariance: Float[Array, "..."]) -> Float[Array, "..."]:
    """The standard deviations ([] or [D]) or the lower Cholesky factor [D, D] of a covariance.

    Raises ConfigError for a covariance that is not symmetric and positive definite; under jit,
    where values cannot be looked at, the factor is NaN instead.
    """
    if covariance.ndim > 2 or (covariance.ndim == 2 and len(set(covariance.shape)) != 1):
        raise ConfigError(f"covariance has shape {covariance.shape}, allowed: [], [D] or [D, D]")
    if covariance.ndim < 2:
        factor = jnp.sqrt(jnp.where(covariance > 0, covariance, jnp.nan))
    else:
        factor = jnp.linalg.cholesky(covariance)
    if not isinstance(factor, jax.core.Tracer):  # as it is of a constant under jit, too
        _refuse(np.asarray(covariance), np.asarray(factor))
    return factor


def _refuse(covariance: np.ndarray, factor: np.ndarray) -> None:
    scale = np.abs(covariance).max(initial=0)
    if np.isfinite(covariance).all() and not np.allclose(
        covariance, covariance.T, atol=1e-5 * scale
    ):
        raise ConfigError("covariance is not symmetric")
    if not np.isfinite(factor).all():
        raise ConfigError(f"covariance is not positive definite: its {_worst(covariance)}")


def _worst(covariance: np.ndarray) -> str:
    if not np.isfinite(covariance).all():
        return "entries are not all finite"
    if covariance.ndim < 2:
        return f"smallest variance is {covariance.min():.3g}"
    return f"smallest eigenvalue is {np.linalg.eigvalsh(covariance).min():.3g}"


def apply_factor(factor: Float[Array, "..."], z: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
    """L z along the last axis, for a factor of `scale_factor`."""
    if factor.ndim < 2:
        return factor * z
    return jnp.matmul(z, factor.T, precision="highest")


def solve_factor(factor: Float[Array, "..."], x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
    """L^-1 x along the last axis: whitens what `apply_factor` coloured."""
    if factor.ndim < 2:
        return x / factor
    flat = x.reshape(-1, x.shape[-1])
    return solve_triangular(factor, flat.T, lower=True).T.reshape(x.shape)


def log_det_factor(factor: Float[Array, "..."], dim: int) -> Float[Array, ""]:
    """log det L, half the log-determinant of the covariance."""
    diagonal = jnp.diagonal(factor) if factor.ndim == 2 else jnp.broadcast_to(factor, (dim,))
    return jnp.sum(jnp.log(diagonal))


def check_dim(covariance: Array, dim: int) -> Array:
    """Return a covariance of so many dimensions; raise ConfigError for one of others."""
    if covariance.ndim and covariance.shape[-1] != dim:
        raise ConfigError(
            f"covariance has shape {covariance.shape}, allowed: [], [D] or [D, D], D = {dim}"
        )
    return covariance


@floats(z="*N D", mean="D", covariance="...")
def from_normal(
    z: Float[Array, "*N D"], mean: Float[Array, "D"], covariance: Float[Array, "..."]
) -> Float[Array, "*N D"]:
    """mean + L z ~ N(mean, covariance) from z ~ N(0, I) of any source; errors as `scale_factor`."""
    return mean + apply_factor(scale_factor(check_dim(covariance, len(mean))), z)


@floats(key="key", mean="D", covariance="...")
def sample(
    key: Key[Array, ""], n: int, mean: Float[Array, "D"], covariance: Float[Array, "..."]
) -> Float[Array, "n D"]:
    """n draws of N(mean, covariance); errors as `scale_factor`."""
    check_range("n", n, 0, integer=True)
    return from_normal(jax.random.normal(key, (int(n), *mean.shape), mean.dtype), mean, covariance)


@floats(x="*N D", mean="D", covariance="...")
def log_prob(
    x: Float[Array, "*N D"], mean: Float[Array, "D"], covariance: Float[Array, "..."]
) -> Float[Array, "*N"]:
    """log N(x; mean, covariance) in nats, with the 1/2 in the exponent that S3 leaves out."""
    factor = scale_factor(check_dim(covariance, len(mean)))
    z = solve_factor(factor, x - mean)
    dim = x.shape[-1]
    return -0.5 * (jnp.sum(z**2, -1) + dim * LOG_2_PI) - log_det_factor(factor, dim)
