"""f-divergences from samples and log-densities, each with its standard error.

All take log-ratios l = log p(x) - log q(x); the densities must be normalised. Draws of p, of q or
of both give three unbiased estimators of the same number:

    from_p     E_p[f(p/q) q/p]            the plain one for KL: the mean of l
    from_q     E_q[f(p/q)]                the plain one for reverse KL
    from_both  1/2 (E_p + E_q) of h(l),   h = f(p/q) q / m, m = (p + q) / 2

The last has bounded terms for Jensen-Shannon, total variation and Hellinger, and so a standard
error to be trusted; the others can have infinite variance where one law's tails are lighter.
"""

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.divergences.f_divergence import LOG_2, FDivergence, perspective
from gen_jax.types import Array, Estimate, Float


def _mean(terms: Float[Array, "N"]) -> Estimate:
    return Estimate(jnp.mean(terms), jnp.std(terms, ddof=1) / jnp.sqrt(terms.shape[0]))


@floats(log_ratio="N")
def from_p(divergence: str | FDivergence, log_ratio: Float[Array, "N"]) -> Estimate:
    """D_f(p || q) from log(p / q) at draws of p."""
    return _mean(perspective(divergence, jnp.zeros_like(log_ratio), -log_ratio))


@floats(log_ratio="N")
def from_q(divergence: str | FDivergence, log_ratio: Float[Array, "N"]) -> Estimate:
    """D_f(p || q) from log(p / q) at draws of q."""
    return _mean(perspective(divergence, log_ratio, jnp.zeros_like(log_ratio)))


@floats(log_ratio_p="N", log_ratio_q="M")
def from_both(
    divergence: str | FDivergence,
    log_ratio_p: Float[Array, "N"],
    log_ratio_q: Float[Array, "M"],
) -> Estimate:
    """D_f(p || q) from log(p / q) at draws of p and at draws of q."""

    def terms(log_ratio):
        log_p = LOG_2 + jax.nn.log_sigmoid(log_ratio)  # log(p / m)
        return perspective(divergence, log_p, LOG_2 + jax.nn.log_sigmoid(-log_ratio))

    (value_p, error_p), (value_q, error_q) = _mean(terms(log_ratio_p)), _mean(terms(log_ratio_q))
    return Estimate((value_p + value_q) / 2, jnp.hypot(error_p, error_q) / 2)
