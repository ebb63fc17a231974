"""Importance sampling: expectations under p from draws of q, weighted by w = p / q (kahn1951).

All functions take log-weights [N], log p(x_i) - log q(x_i) at x_i ~ q, and stay in logarithms.
Every estimate comes with its standard error; both mislead when few weights carry the sum:
look at `effective_sample_size` first. Weights of -inf count as 0.
"""

import jax.numpy as jnp
from jax.nn import softmax
from jax.scipy.special import logsumexp

from gen_jax.errors import check_range
from gen_jax.sampling.categorical import categorical
from gen_jax.sampling.checks import floats
from gen_jax.types import Array, Estimate, Float, Int, Num


@floats(log_weights="N")
def log_normalizer(log_weights: Float[Array, "N"]) -> Estimate:
    """log of the mean weight, in nats: log Z of an unnormalised p; with the delta-method error.

    Its expectation is below log Z (jensen1906), by about half the squared error.
    """
    value = logsumexp(log_weights) - jnp.log(log_weights.shape[0])
    relative = jnp.exp(log_weights - value)
    return Estimate(value, _standard_error(relative))


@floats(log_weights="N", values="N ...")
def importance_mean(log_weights: Float[Array, "N"], values: Float[Array, "N ..."]) -> Estimate:
    """E_p[f] from f(x_i) [N, ...], unbiased; both densities must be normalised."""
    terms = _per_sample(jnp.exp(log_weights), values) * values
    return Estimate(jnp.mean(terms, 0), _standard_error(terms))


@floats(log_weights="N", values="N ...")
def self_normalised_mean(log_weights: Float[Array, "N"], values: Float[Array, "N ..."]) -> Estimate:
    """E_p[f] with weights divided by their sum: constants of p and q do not matter.

    Biased by O(1 / N); the error is the delta method's (owen2013, eq. 9.9).
    """
    share = _per_sample(softmax(log_weights), values)
    value = jnp.sum(share * values, 0)
    return Estimate(value, jnp.sqrt(jnp.sum((share * (values - value)) ** 2, 0)))


@floats(log_weights="N")
def effective_sample_size(log_weights: Float[Array, "N"]) -> Float[Array, ""]:
    """(sum w)^2 / sum w^2, from 1 to N: how many equal weights would do as well (kong1992)."""
    return jnp.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights))


@floats(u="", log_weights="N")
def resample(u: Float[Array, ""], log_weights: Float[Array, "N"], n: int) -> Int[Array, "n"]:
    """n indices drawn with chances proportional to the weights, systematically (kitagawa1996).

    Index i comes floor or ceil of n w_i / sum(w) times. One uniform u in [0, 1) serves all.
    """
    check_range("n", n, 1, integer=True)
    shares = softmax(log_weights)
    return categorical((jnp.arange(n) + u) / n, shares)


def _per_sample(weights: Array, values: Num[Array, "N ..."]) -> Array:
    return weights.reshape(weights.shape + (1,) * (values.ndim - 1))


def _standard_error(terms: Float[Array, "N ..."]) -> Array:
    return jnp.std(terms, axis=0, ddof=1) / jnp.sqrt(terms.shape[0])
