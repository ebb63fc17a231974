"""Attention of one token to itself and those before it, whose keys and values are kept."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.nets.blocks import Attend
from gen_jax.types import Array, Bool, State

Attention = Callable[[str], Attend]
"""From a layer's name, layer_0, layer_1, .., to what its attention does."""

Cache = dict[str, tuple[Array, Array]]
"""Keys and values [B, N, heads, D] of each layer, of static shape; zero where none came yet."""


def empty_cache(network: Any, batch: int, num: int, params: State) -> Cache:
    """For `num` tokens of a network with heads, width and depth, of the type of its parameters."""
    shape = batch, num, network.heads, network.width // network.heads
    zeros = jnp.zeros(shape, jnp.result_type(*jax.tree.leaves(params)))
    return {f"layer_{layer}": (zeros, zeros) for layer in range(network.depth)}


def attention_at(
    index: Array, cache: Cache, seen: Bool[Array, "B N"] | None = None
) -> tuple[Attention, Cache]:
    """What the token at `index` attends to, and the cache: whole once every layer has attended.

    Args:
      seen: places that are attended to at all; all if not given.
    """
    kept = dict(cache)

    def attention(name):
        def attend(query, key, value):
            write = lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, index, 1)
            keys, values = (write(*pair) for pair in zip(kept[name], (key, value)))
            kept[name] = keys, values
            mask = (jnp.arange(keys.shape[1]) <= index)[None, None, None]
            mask = mask if seen is None else mask & seen[:, None, None]
            return jax.nn.dot_product_attention(query, keys, values, mask=mask)

        return attend

    return attention, kept
