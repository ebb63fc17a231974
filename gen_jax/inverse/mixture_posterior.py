"""The exact posterior of a Gaussian mixture under a linear measurement with Gaussian noise.

For x0 ~ sum_k w_k N(m_k, C_k) and y = A x0 + noise_std z, with S_k = A C_k A^T + noise_std^2 I and
K_k = C_k A^T S_k^-1, the posterior is again a mixture:

    means m_k + K_k (y - A m_k),  covariances C_k - K_k A C_k,  weights w_k N(y; A m_k, S_k) / p(y).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jax.scipy.special import logsumexp

from gen_jax.annotations import floats
from gen_jax.checks import check_values, is_known, no_type_check
from gen_jax.errors import ConfigError
from gen_jax.inverse.measurements import check_noise
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.types import Array, Float


class Posterior(NamedTuple):
    """A Gaussian mixture p(x0 | y), and log p(y) in nats."""

    weights: Float[Array, "K"]
    means: Float[Array, "K D"]
    covariances: Float[Array, "K D D"]
    log_evidence: Float[Array, ""]


def _check_weights(weights: Array) -> None:
    if not (jnp.all(weights >= 0) and jnp.abs(jnp.sum(weights) - 1) < 1e-2):
        raise ConfigError(f"weights sum to {jnp.sum(weights):.4g}; they must be >= 0 and sum to 1")


@no_type_check
@floats(weights="K", means="K D", covariances="K D D", matrix="M D", y="M")
def mixture_posterior(
    weights: Float[Array, "..."],
    means: Float[Array, "..."],
    covariances: Float[Array, "..."],
    matrix: Float[Array, "..."],
    y: Float[Array, "..."],
    noise_std: float,
) -> Posterior:
    """p(x0 | y) for y [M] = matrix [M, D] x0 + noise_std z and a mixture of K components.

    Raises ConfigError for shapes that do not belong together, weights that are no probabilities,
    and an S_k that is singular within rounding, as it is for noise_std = 0 and rows that depend on
    each other (then p(y) has no density).
    """
    m, d = matrix.shape
    check_noise(noise_std)
    check_values(_check_weights, weights)
    noise = noise_std**2 * jnp.eye(m, dtype=means.dtype)

    def condition(weight, mean, covariance):
        cross = jnp.matmul(matrix, covariance, precision="highest")
        marginal = jnp.matmul(cross, matrix.T, precision="highest") + noise
        lower = jnp.linalg.cholesky(marginal)
        pivot = jnp.min(jnp.diagonal(lower)) ** 2 / jnp.max(jnp.diagonal(marginal))
        residual = y - jnp.matmul(matrix, mean, precision="highest")
        gain = cho_solve((lower, True), cross).T
        # Joseph's form keeps the covariance symmetric and positive.
        rest = jnp.eye(d, dtype=mean.dtype) - jnp.matmul(gain, matrix, precision="highest")
        left = jnp.einsum("ij,jk,lk->il", rest, covariance, rest, precision="highest")
        new = left + noise_std**2 * jnp.matmul(gain, gain.T, precision="highest")
        white = jax.scipy.linalg.solve_triangular(lower, residual, lower=True)
        log_density = -0.5 * jnp.sum(white**2) - jnp.sum(jnp.log(jnp.diagonal(lower)))
        moved = mean + jnp.matmul(gain, residual, precision="highest")
        return jnp.log(weight) + log_density - m / 2 * LOG_2_PI, moved, new, pivot

    log_joint, moved, new, pivot = jax.vmap(condition)(weights, means, covariances)
    rounding = m * jnp.finfo(pivot.dtype).eps
    if is_known(pivot) and not bool(jnp.all(pivot > rounding)):
        raise ConfigError(
            f"noise_std={noise_std} with this matrix of shape {matrix.shape} gives y no density in "
            f"{pivot.dtype}: its rows depend on each other; noise_std must be larger"
        )
    total = logsumexp(log_joint)
    return Posterior(jnp.exp(log_joint - total), moved, new, total)
