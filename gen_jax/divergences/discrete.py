"""Divergences of probability vectors p, q [..., K] along the last axis, in nats; 0 log 0 = 0.

Where p has mass and q has none KL and Pearson's chi-square are infinite.

Gradients are finite everywhere. At a probability of 0 they are the one-sided derivatives; where
these are infinite, or the divergence is, and where p and q are both 0, 0 stands in their place.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax.scipy.special import rel_entr

from gen_jax import safe
from gen_jax.annotations import floats
from gen_jax.divergences.f_divergence import FDivergence, at_zero, f_divergence, perspective
from gen_jax.types import Array, Float

vectors = floats(p="*B K", q="*B K")


@vectors
def kl(p: Float[Array, "*B K"], q: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """sum p log(p / q)."""
    return jnp.sum(rel_entr(p, q), -1)


@vectors
def reverse_kl(p: Float[Array, "*B K"], q: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """sum q log(q / p)."""
    return kl(q, p)


@vectors
def jensen_shannon(p: Float[Array, "*B K"], q: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q) / 2: S0's eq. 18, which prints Jeffreys'."""
    # At 0 the derivative through log p is infinite: without it, that through m says nothing.
    middle = (jnp.where(p == 0, 0, p) + jnp.where(q == 0, 0, q)) / 2
    return 0.5 * (kl(p, middle) + kl(q, middle))


@vectors
def jeffreys(p: Float[Array, "*B K"], q: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """1/2 KL(p || q) + 1/2 KL(q || p), what S0's eq. 18 computes."""
    return 0.5 * (kl(p, q) + kl(q, p))


@vectors
def total_variation(p: Float[Array, "*B K"], q: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """1/2 sum |p - q|, the largest difference over events."""
    return 0.5 * jnp.sum(safe.absolute(p - q), -1)


@vectors
def squared_hellinger(p: Float[Array, "*B K"], q: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """1 - sum sqrt(p q), as 1/2 sum (sqrt p - sqrt q)^2."""
    return 0.5 * jnp.sum((safe.sqrt(p) - safe.sqrt(q)) ** 2, -1)


@vectors
def chi_square(p: Float[Array, "*B K"], q: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """Pearson's sum (p - q)^2 / q."""
    ratio = (p - q) ** 2 / jnp.where(q > 0, q, 1)
    return jnp.sum(jnp.where(q > 0, ratio, jnp.where(p > 0, jnp.inf, 0)), -1)


@vectors
def neyman_chi_square(p: Float[Array, "*B K"], q: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """sum (p - q)^2 / p."""
    return chi_square(q, p)


DISCRETE: dict[str, Callable[[Array, Array], Array]] = {
    "kl": kl,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
    "total_variation": total_variation,
    "squared_hellinger": squared_hellinger,
    "chi_square": chi_square,
    "neyman_chi_square": neyman_chi_square,
}
"""`DISCRETE[name](p, q)`, by the names of F_DIVERGENCES."""


@vectors
def discrete(
    divergence: str | FDivergence, p: Float[Array, "*B K"], q: Float[Array, "*B K"]
) -> Float[Array, "*B"]:
    """sum q f(p / q) for any f-divergence, by its generator."""
    row = f_divergence(divergence)
    terms = perspective(row, safe.log(p), safe.log(q))
    # Logarithms lose the derivatives at 0, f'(0) and the limit of f(u) - u f'(u): -f*(f'(inf)).
    end = jnp.asarray(jnp.inf, p.dtype)
    by_p, by_q = row.optimal_critic(-end), -row.conjugate(row.optimal_critic(end))
    edges = at_zero(p, by_p, q > 0) + at_zero(q, by_q, p > 0)
    return jnp.sum(jnp.where(jnp.isinf(terms), terms, terms + edges), -1)
