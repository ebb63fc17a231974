"""The constant log Z of an unnormalised density by importance sampling."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import logsumexp

from gen_jax.types import Array, Float


class LogNormalizer(NamedTuple):
    """log Z in nats, its standard error, and the effective sample size as a share of N."""

    value: Float[Array, ""]
    error: Float[Array, ""]
    effective: Float[Array, ""]


def log_normalizer(log_weights: Float[Array, "N"]) -> LogNormalizer:
    """log of the mean of exp(log p - log q) at N points of q.

    The error is that of the mean over the mean (delta method). Where q misses a part of p it says
    nothing of that part.
    """
    n = log_weights.shape[0]
    first, second = logsumexp(log_weights), logsumexp(2 * log_weights)
    effective = jnp.exp(2 * first - second) / n
    error = jnp.sqrt(jnp.maximum(1 / effective - 1, 0) / max(n - 1, 1))
    return LogNormalizer(first - jnp.log(n), error, effective)
