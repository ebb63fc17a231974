"""Categorical draws by prefix sums, and mixtures of Gaussians built on them (S2, algorithm 3)."""

from functools import partial

import jax
import jax.numpy as jnp

from gen_jax.sampling.gaussian import apply_factor, scale_factor
from gen_jax.types import Array, Float, Int


@partial(jnp.vectorize, signature="(k),()->()")
def _first_above(cumulative: Array, value: Array) -> Array:
    return jnp.searchsorted(cumulative, value, side="right")


@partial(jnp.vectorize, signature="(k),()->()")
def _first_reaching(cumulative: Array, value: Array) -> Array:
    return jnp.searchsorted(cumulative, value, side="left")


def categorical(u: Float[Array, "..."], weights: Float[Array, "... K"]) -> Int[Array, "..."]:
    """The index k with probability weights[k] / sum: where the prefix sums pass u sum(weights).

    Args:
      u: uniforms in [0, 1].
      weights: >= 0, not all 0, one set for all u or one for each; need not be normalised. Weight 0
        is never drawn. In float32 a sum of K weights is good to about K^1/2 6e-8.
    """
    cumulative = jnp.cumsum(weights, -1)
    total = cumulative[..., -1]
    last = _first_reaching(cumulative, total)  # of positive weight; u may round up to 1
    return jnp.minimum(_first_above(cumulative, u * total), last)


def mixture(
    u: Float[Array, "N"],
    z: Float[Array, "N D"],
    weights: Float[Array, "K"],
    means: Float[Array, "K D"],
    covariances: Float[Array, "K ..."],
) -> tuple[Float[Array, "N D"], Int[Array, "N"]]:
    """Draws of a Gaussian mixture and their components, from N uniforms and N normal vectors.

    Args:
      covariances: [K], [K, D] or [K, D, D]: see `gaussian`. Under jit NaN where one is not
        positive definite, else ConfigError.
    """
    component = categorical(u, weights)
    if isinstance(covariances, jax.core.Tracer):
        factors = jax.vmap(scale_factor)(covariances)
    else:
        factors = jnp.stack([scale_factor(c) for c in covariances])
    return means[component] + jax.vmap(apply_factor)(factors[component], z), component
