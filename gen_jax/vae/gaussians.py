"""Diagonal Gaussians and their mixtures by mean and log standard deviation.

The last axis holds the dimensions; all leading axes broadcast.
"""

import jax.numpy as jnp
from jax.scipy.special import logsumexp

from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.types import Array, Float


def log_normal(
    z: Float[Array, "..."], mean: Float[Array, "..."], log_std: Float[Array, "..."]
) -> Float[Array, "..."]:
    """log N(z; mean, std^2) of each dimension in nats."""
    return -0.5 * (((z - mean) * jnp.exp(-log_std)) ** 2 + LOG_2_PI) - log_std


def kl_terms(
    mean: Float[Array, "..."],
    log_std: Float[Array, "..."],
    prior_mean: Float[Array, "..."] | float = 0.0,
    prior_log_std: Float[Array, "..."] | float = 0.0,
) -> Float[Array, "..."]:
    """KL(N(mean, std^2) || N(prior_mean, prior_std^2)) of each dimension in nats."""
    shift = (mean - prior_mean) * jnp.exp(-prior_log_std)
    return residual_kl_terms(shift, log_std - prior_log_std)


def residual_kl_terms(
    shift: Float[Array, "..."], log_scale: Float[Array, "..."]
) -> Float[Array, "..."]:
    """KL of N(m + s shift, (s scale)^2) from N(m, s^2), of each dimension (vahdat2020 eq. 2).

    It depends neither on m nor on s: (shift^2 + scale^2 - 1) / 2 - log scale.
    """
    return 0.5 * (shift**2 + jnp.expm1(2 * log_scale)) - log_scale


def log_mixture(
    z: Float[Array, "... D"],
    log_weights: Float[Array, "... M"],
    means: Float[Array, "... M D"],
    log_stds: Float[Array, "... M D"],
) -> Float[Array, "..."]:
    """log sum_m w_m N(z; m_m, s_m^2) in nats."""
    terms = log_normal(z[..., None, :], means, log_stds).sum(-1)
    return logsumexp(log_weights + terms, -1)
