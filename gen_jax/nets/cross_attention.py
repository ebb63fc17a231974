"""Attention of tokens to a sentence's words (vaswani2017 sec. 3.2.2, rombach2022 sec. 3.3)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.axes import rows_of
from gen_jax.errors import ConfigError, shown
from gen_jax.nets.blocks import check_heads, over_tokens
from gen_jax.nets.seen import Seen
from gen_jax.types import Array, Bool, Float, Int

ZEROS = nn.initializers.zeros


class Words(nn.Module):
    """A sentence as vectors: a word's embedding plus its place's; token 0 is padding."""

    vocabulary: int
    width: int
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "B T"]
    ) -> tuple[Float[Array, "B T E"], Bool[Array, "B T"]]:
        """float32 vectors and which of them are words; NaN for tokens outside the vocabulary."""
        init = nn.initializers.normal(1.0)
        words = self.param("words", init, (self.vocabulary, self.width), self.param_dtype)
        places = self.param("places", init, (tokens.shape[1], self.width), self.param_dtype)
        found = rows_of(words.astype(jnp.float32), tokens)
        return found + places.astype(jnp.float32), tokens != 0


def words_of(beside: Seen, width: int, param_dtype: Any) -> tuple[Array, Array] | None:
    """The words of the sentence a network sees, for `CrossAttention`; None without a sentence.

    To be called inside a compact module.
    """
    if beside.caption is None:
        return None
    return Words(beside.vocabulary, width, param_dtype, name="Words_0")(beside.caption)


class CrossAttention(nn.Module):
    """Multi-head attention of x to a context, zero before training.

    Only places where `mask` is true are read: values and gradients of the others are exactly 0,
    also where they are NaN. Where no place is true the output is exactly 0.
    """

    heads: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    out_init: Any = ZEROS

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        context: Float[Array, "B T E"],
        mask: Bool[Array, "B T"] | None = None,
    ) -> Float[Array, "B N D"]:
        """Raises ConfigError unless `heads` divides D, and for another mask."""
        width = x.shape[-1]
        check_heads(width, self.heads)
        mask = jnp.ones(context.shape[:2], bool) if mask is None else mask
        if mask.shape != context.shape[:2] or mask.dtype != bool:
            raise ConfigError(
                f"mask is {shown(mask)}, must be an array of bool {list(context.shape[:2])}"
            )
        context = jnp.where(mask[..., None], context, 0)
        split = lambda h: h.reshape(*h.shape[:2], self.heads, width // self.heads)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense = lambda name, h: split(over_tokens(nn.Dense(width, name=name, **types), h))
        query, key, value = dense("query", x), dense("key", context), dense("value", context)
        seen = jnp.broadcast_to(mask[:, None, None, :], (len(x), 1, x.shape[1], mask.shape[1]))
        out = jax.nn.dot_product_attention(query, key, value, mask=seen)
        out = jnp.where(mask.any(1)[:, None, None], out.reshape(x.shape), 0)
        last = nn.Dense(width, use_bias=False, kernel_init=self.out_init, name="out", **types)
        return over_tokens(last, out)
