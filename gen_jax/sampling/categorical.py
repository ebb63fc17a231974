"""Categorical draws by prefix sums, and mixtures of Gaussians built on them (S2, algorithm 3)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.annotations import floats
from gen_jax.errors import ConfigError
from gen_jax.sampling.gaussian import apply_factor, scale_factor
from gen_jax.types import Array, Float, Int


@partial(jnp.vectorize, signature="(k),()->()")
def _first_above(cumulative: Array, value: Array) -> Array:
    return jnp.searchsorted(cumulative, value, side="right")


@partial(jnp.vectorize, signature="(k),()->()")
def _first_reaching(cumulative: Array, value: Array) -> Array:
    return jnp.searchsorted(cumulative, value, side="left")


def tempered(
    logits: Float[Array, "*B K"], temperature: float | Float[Array, ""]
) -> Float[Array, "*B K"]:
    """logits / temperature, moved so that the largest are 0.

    However low the temperature: where the quotients overflow, and at 0, the others are -inf.
    """
    largest = jnp.max(logits, -1, keepdims=True)
    scale = jnp.maximum(jnp.asarray(temperature, logits.dtype), jnp.finfo(logits.dtype).tiny)
    return jnp.where(logits == largest, 0, (logits - largest) / scale)


@floats(u="...", weights="... K")
def categorical(u: Float[Array, "..."], weights: Float[Array, "... K"]) -> Int[Array, "..."]:
    """The index k with probability weights[k] / sum: where the prefix sums pass u sum(weights).

    Args:
      u: uniforms in [0, 1].
      weights: >= 0, not all 0, one set for all u or one for each; need not be normalised. Weight 0
        is never drawn. In float32 a sum of K weights is good to about K^1/2 6e-8.
    Raises ConfigError for other weights; under jit, where values cannot be looked at, they are not
    looked at.
    """
    if not isinstance(weights, jax.core.Tracer):
        usual = np.asarray(weights, np.float64)
        total = usual.sum(-1)
        if (usual < 0).any() or not (np.isfinite(total) & (total > 0)).all():
            raise ConfigError("weights must be finite, >= 0 and not all 0")
    cumulative = jnp.cumsum(weights, -1)
    total = cumulative[..., -1]
    last = _first_reaching(cumulative, total)  # of positive weight; u may round up to 1
    return jnp.minimum(_first_above(cumulative, u * total), last)


@floats(u="N", z="N D", weights="K", means="K D", covariances="K ...")
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
