"""Divergences between two Gaussians in closed form, in nats where they are entropies.

Covariances are [] (isotropic), [D] (diagonal) or [D, D], in any pairing; errors for matrices that
are not positive definite are those of `gen_jax.sampling.gaussian.scale_factor`. Reverse divergences
swap the arguments.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from gen_jax import safe
from gen_jax.annotations import floats
from gen_jax.divergences.distances import power_of_two
from gen_jax.errors import check_range
from gen_jax.sampling.gaussian import check_dim, log_det_factor, scale_factor, solve_factor
from gen_jax.types import Array, Float

Covariance = Float[Array, "..."]

laws = floats(mean_p="D", cov_p="...", mean_q="D", cov_q="...")


def _same_kind(dim: int, *covariances: Array) -> list[Array]:
    """All as variances [D], or all as matrices [D, D] where one is."""
    for c in covariances:
        check_dim(c, dim)
    full = any(np.ndim(c) == 2 for c in covariances)
    spread = [c if np.ndim(c) == 2 else jnp.broadcast_to(c, (dim,)) for c in covariances]
    return [jnp.diag(c) if full and c.ndim == 1 else c for c in spread]


@laws
def gaussian_kl(
    mean_p: Float[Array, "D"], cov_p: Covariance, mean_q: Float[Array, "D"], cov_q: Covariance
) -> Float[Array, ""]:
    """KL(p || q) = 1/2 [tr(Cq^-1 Cp) + |mq - mp|^2_q - D + log(|Cq| / |Cp|)].

    The log-ratio is the right way round here, unlike S0's slide "Gaussian KL".

    >>> import jax.numpy as jnp
    >>> from gen_jax import divergences
    >>> zero, one = jnp.zeros(2), jnp.eye(2)
    >>> float(divergences.gaussian_kl(zero, one, zero + 1, one))
    1.0
    """
    dim = mean_p.shape[0]
    factor_p, factor_q = map(scale_factor, _same_kind(dim, cov_p, cov_q))
    shift = solve_factor(factor_q, mean_q - mean_p)
    columns = factor_p.T if factor_p.ndim == 2 else factor_p
    trace = jnp.sum(solve_factor(factor_q, columns) ** 2)
    log_ratio = log_det_factor(factor_q, dim) - log_det_factor(factor_p, dim)
    return 0.5 * (trace + jnp.sum(shift**2) - dim) + log_ratio


@laws
def gaussian_reverse_kl(
    mean_p: Float[Array, "D"], cov_p: Covariance, mean_q: Float[Array, "D"], cov_q: Covariance
) -> Float[Array, ""]:
    """KL(q || p)."""
    return gaussian_kl(mean_q, cov_q, mean_p, cov_p)


@laws
def gaussian_log_overlap(
    mean_p: Float[Array, "D"],
    cov_p: Covariance,
    mean_q: Float[Array, "D"],
    cov_q: Covariance,
    power: float,
) -> Float[Array, ""]:
    """log of the integral of p^a q^(1-a), a = `power` (gil2013, table 2).

    -a (1-a) / 2 |mp - mq|^2_C - 1/2 log(|C| / (|Cp|^(1-a) |Cq|^a)) with C = (1-a) Cp + a Cq;
    infinite where C is not positive definite.
    """
    dim, a = mean_p.shape[0], power
    cov_p, cov_q = _same_kind(dim, cov_p, cov_q)
    log_p, log_q = (log_det_factor(scale_factor(c), dim) for c in (cov_p, cov_q))
    mixed = (1 - a) * cov_p + a * cov_q
    indefinite = jnp.isnan(log_det_factor(_quiet_factor(mixed), dim))
    # The factor's gradient is NaN where it is: there any other covariance does.
    factor = _quiet_factor(jnp.where(indefinite, cov_p, mixed))
    shift = solve_factor(factor, mean_p - mean_q)
    log_c = log_det_factor(factor, dim)
    value = -a * (1 - a) / 2 * jnp.sum(shift**2) - log_c + (1 - a) * log_p + a * log_q
    return jnp.where(indefinite & jnp.isfinite(log_p + log_q), jnp.inf, value)


def _quiet_factor(covariance: Array) -> Array:
    """`scale_factor` with NaN instead of an error: a mixed covariance may be indefinite."""
    return jax.jit(scale_factor)(covariance)


@laws
def gaussian_squared_hellinger(
    mean_p: Float[Array, "D"], cov_p: Covariance, mean_q: Float[Array, "D"], cov_q: Covariance
) -> Float[Array, ""]:
    """1 - integral sqrt(p q), in [0, 1]."""
    return -jnp.expm1(gaussian_log_overlap(mean_p, cov_p, mean_q, cov_q, 0.5))


@laws
def gaussian_chi_square(
    mean_p: Float[Array, "D"], cov_p: Covariance, mean_q: Float[Array, "D"], cov_q: Covariance
) -> Float[Array, ""]:
    """Pearson's integral (p - q)^2 / q; infinite unless 2 Cq - Cp is positive definite."""
    return jnp.expm1(gaussian_log_overlap(mean_p, cov_p, mean_q, cov_q, 2.0))


@laws
def gaussian_renyi(
    mean_p: Float[Array, "D"],
    cov_p: Covariance,
    mean_q: Float[Array, "D"],
    cov_q: Covariance,
    order: float,
) -> Float[Array, ""]:
    """Renyi divergence log(integral p^a q^(1-a)) / (a - 1) of order a > 0, a != 1."""
    check_range("order", order, 0, open_low=True)
    check_range("|order - 1|", abs(order - 1), 0, open_low=True)
    return gaussian_log_overlap(mean_p, cov_p, mean_q, cov_q, order) / (order - 1)


@floats(mean_p="D", mean_q="D", covariance="...")
def gaussian_total_variation(
    mean_p: Float[Array, "D"], mean_q: Float[Array, "D"], covariance: Covariance
) -> Float[Array, ""]:
    """2 Phi(d / 2) - 1 for one common covariance, d the Mahalanobis distance of the means."""
    factor = scale_factor(check_dim(covariance, len(mean_p)))
    distance = safe.length(solve_factor(factor, mean_p - mean_q))
    return 2 * ndtr(distance / 2) - 1


def _factor_or_0(covariance: Array) -> Array:
    """`scale_factor`, and 0 for variances, or a matrix, of 0."""
    zero = covariance == 0
    if covariance.ndim == 2:
        zero, other = zero.all(), jnp.eye(len(covariance), dtype=covariance.dtype)
    else:
        other = jnp.ones_like(covariance)
    return jnp.where(zero, 0, scale_factor(jnp.where(zero, other, covariance)))


@laws
def gaussian_wasserstein(
    mean_p: Float[Array, "D"], cov_p: Covariance, mean_q: Float[Array, "D"], cov_q: Covariance
) -> Float[Array, ""]:
    """Bures-Wasserstein distance W_2 in data units (dowson1982).

    W_2^2 = |mp - mq|^2 + tr(Cp + Cq - 2 (Cp^1/2 Cq Cp^1/2)^1/2); the last trace is the sum of
    the singular values of Lq^T Lp. Variances, and matrices as a whole, may be 0; there their
    derivative, which is infinite, is 0. For other singular covariances and many dimensions
    `metrics.frechet_distance` has the square in float64 on the host.
    """
    factor_p, factor_q = map(_factor_or_0, _same_kind(mean_p.shape[0], cov_p, cov_q))
    shift = mean_p - mean_q
    unit = power_of_two(shift, factor_p, factor_q)
    shift, factor_p, factor_q = shift / unit, factor_p / unit, factor_q / unit
    if factor_p.ndim == 1:
        spread = jnp.sum((factor_p - factor_q) ** 2)
    else:
        cross = jnp.matmul(factor_q.T, factor_p, precision="highest")
        shared = jnp.sum(jnp.linalg.svd(cross, compute_uv=False))
        spread = jnp.sum(factor_p**2) + jnp.sum(factor_q**2) - 2 * shared
    return unit * safe.sqrt(jnp.sum(shift**2) + jnp.maximum(spread, 0))
