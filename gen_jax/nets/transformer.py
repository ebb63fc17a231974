"""Decoder-only transformer: pre-norm, causal, learned positions (vaswani2017, radford2019)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.axes import rows_of
from gen_jax.errors import ConfigError, check_range
from gen_jax.nets.blocks import DecoderBlock, causal, check_heads
from gen_jax.nets.cached_attention import Attention
from gen_jax.nets.causal import Label
from gen_jax.types import Array, Float, Int


class Transformer(nn.Module):
    """The next token's logits at each place, from the tokens before it; zero before training.

    The sequence enters shifted: place 0 reads a learned start, place t the token t - 1. A token or
    label out of range gives NaN, never another one.
    """

    vocabulary: int
    context: int
    width: int = 128
    depth: int = 4
    heads: int = 4
    ratio: int = 4
    num_classes: int = 0
    dropout: float = 0.0

    def __post_init__(self):
        for name in ("vocabulary", "context", "depth", "ratio"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_heads(self.width, self.heads)
        check_range("num_classes", self.num_classes, 0, integer=True)
        check_range("dropout", self.dropout, 0, 1)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Int[Array, "B T"],
        condition: Int[Array, "B"] | None = None,
        *,
        first: int | Int[Array, ""] = 0,
        attention: Attention = lambda name: causal,
        deterministic: bool = True,
    ) -> Float[Array, "B T V"]:
        """Logits [B, T, vocabulary] from the shifted sequence (see `shifted`).

        Args:
          x: tokens in 0 .. vocabulary, the last being the start.
          first: the place of x[:, 0] in the sequence.
        Raises ConfigError for sequences longer than the context.
        """
        batch, length = x.shape
        if length > self.context:
            raise ConfigError(f"sequence of {length} tokens is longer than context={self.context}")
        init = nn.initializers.normal(0.02)
        table = self.param("tokens", init, (self.vocabulary + 1, self.width))
        places = self.param("places", init, (self.context, self.width))
        h = rows_of(table, x)
        h = h + jax.lax.dynamic_slice_in_dim(places, first, length)
        h = h + Label(self.num_classes, self.width)(condition, batch)[:, 0]
        h = nn.Dropout(self.dropout)(h, deterministic=deterministic)
        for layer in range(self.depth):
            block = DecoderBlock(self.heads, self.ratio, self.dropout)
            h = block(h, attention(f"layer_{layer}"), deterministic)
        out = nn.Dense(self.vocabulary, kernel_init=nn.initializers.zeros, name="out")
        return out(nn.LayerNorm()(h))


def shifted(tokens: Int[Array, "B T"], start: int) -> Int[Array, "B T"]:
    """What the network reads to predict `tokens`: the start, then all but the last of them."""
    return jnp.pad(tokens, ((0, 0), (1, 0)), constant_values=start)[:, :-1]
