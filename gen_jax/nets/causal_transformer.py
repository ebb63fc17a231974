"""A decoder over tokens whose outputs at each place depend on the tokens before it only."""

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.nets.blocks import DecoderBlock
from gen_jax.types import Array, Float


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
        self, x: Float[Array, "B N C"], condition: Float[Array, "B E"] | None = None
    ) -> Float[Array, "B N P"]:
        """[B, N, size]; raises ConfigError for sizes that cannot work."""
        check_range("depth", self.depth, 1, integer=True)
        small = nn.initializers.normal(0.02)
        first = self.param("first", small, (self.width,))
        places = self.param("places", small, (x.shape[1], self.width))
        h = nn.Dense(self.width, name="in")(x[:, :-1])
        start = jnp.broadcast_to(first.astype(h.dtype), (len(x), 1, self.width))
        h = jnp.concatenate([start, h], 1) + places
        if condition is not None:
            h = h + nn.Dense(self.width, use_bias=False, name="told")(condition)[:, None]
        for _ in range(self.depth):
            h = DecoderBlock(self.heads)(h)
        zeros = nn.initializers.zeros
        return nn.Dense(self.size, kernel_init=zeros, name="out")(nn.LayerNorm()(h))
