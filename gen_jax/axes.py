"""Axes of arrays: what broadcasts over the examples of a batch."""

import jax.numpy as jnp

from gen_jax.types import Array, Shaped


def expand(coefficient: Shaped[Array, "..."], x: Array) -> Array:
    """Append axes to a coefficient of shape [] or [B] so that it broadcasts over x [B, ...]."""
    coefficient = jnp.asarray(coefficient)
    return coefficient.reshape(coefficient.shape + (1,) * (x.ndim - coefficient.ndim))
