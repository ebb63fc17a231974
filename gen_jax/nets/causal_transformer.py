"""A decoder over tokens whose outputs at each place depend on the tokens before it only."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.nets.blocks import DecoderBlock, causal
from gen_jax.nets.cached_attention import Attention
from gen_jax.types import Array, Float, Int


class CausalTransformer(nn.Module):
    """`size` outputs per token: as `Transformer`, of vectors instead of a vocabulary.

    The tokens are shifted by one behind a learned first one, and have learned places. A condition
    [B, E] is added to all of them. All outputs are zero before training.
    """

    size: int
    width: int = 64
    depth: int = 2
    heads: int = 2

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N C"],
        condition: Float[Array, "B E"] | None = None,
        *,
        place: tuple[Int[Array, ""], int] | None = None,
        attention: Attention = lambda name: causal,
    ) -> Float[Array, "B N P"]:
        """[B, N, size]; raises ConfigError for sizes that cannot work.

        Args:
          place: (i, length of the whole) for the outputs [B, 1, size] at place i alone, from
            x [B, 1, C], the token before it (any, at place 0), and an `attention` that holds the
            others.
        """
        check_range("depth", self.depth, 1, integer=True)
        length = x.shape[1] if place is None else place[1]
        small = nn.initializers.normal(0.02)
        first = self.param("first", small, (self.width,))
        places = self.param("places", small, (length, self.width))
        read = nn.Dense(self.width, name="in")
        if place is None:
            h = read(x[:, :-1])
            start = jnp.broadcast_to(first.astype(h.dtype), (len(x), 1, self.width))
            h = jnp.concatenate([start, h], 1) + places
        else:
            h = jnp.where(place[0] > 0, read(x), first)
            h = h + jax.lax.dynamic_slice_in_dim(places, place[0], 1)
        if condition is not None:
            h = h + nn.Dense(self.width, use_bias=False, name="told")(condition)[:, None]
        for layer in range(self.depth):
            h = DecoderBlock(self.heads)(h, attention(f"layer_{layer}"))
        zeros = nn.initializers.zeros
        return nn.Dense(self.size, kernel_init=zeros, name="out")(nn.LayerNorm()(h))
