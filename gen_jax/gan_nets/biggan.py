"""BigGAN's generator: one embedding of classes for all layers, a piece of z in each (brock2019)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range, check_widths
from gen_jax.gan_nets.conditioning import condition_vector
from gen_jax.gan_nets.dcgan import batch_norm
from gen_jax.gan_nets.resampling import base_size
from gen_jax.gan_nets.residual_gan import GeneratorBlock, ImageAttention, convolve
from gen_jax.gan_nets.sagan import check_attention
from gen_jax.gan_nets.spectral import normalised
from gen_jax.types import Array, Float


class BigGANGenerator(nn.Module):
    """z is cut into one piece for the start and one per block; every normalisation of a block is
    linear in its piece beside the shared embedding of the label. The last one is plain.

    Its critic is `ResidualCritic` with conditional="projection". Truncation is the sampler's: z of
    a normal law without its tails.

    Fields:
      embedding: dimension of the shared embedding; its module is named "shared", which orthogonal
        regularisation leaves out.
      attention: after this many blocks; 0 for none.
    Blocks get equal pieces, the start the rest. Raises ConfigError when z is too short for that.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (64, 32)
    num_classes: int = 0
    embedding: int = 32
    attention: int = 1

    def __post_init__(self):
        check_widths("widths", self.widths)
        check_attention(self.attention, self.widths)
        check_range("embedding", self.embedding, 1, integer=True)
        base_size(tuple(self.shape), len(self.widths))
        super().__post_init__()

    @nn.compact
    def __call__(
        self, z: Float[Array, "B L"], condition: Any = None, *, train: bool = False
    ) -> Float[Array, "B H W C"]:
        """Images in [-1, 1]."""
        blocks = len(self.widths)
        size = z.shape[-1] // (blocks + 1)
        if not size:
            raise ConfigError(f"z has {z.shape[-1]} dimensions, must have at least {blocks + 1}")
        first = z.shape[-1] - blocks * size
        start, *rest = jnp.split(z, list(range(first, z.shape[-1], size)), axis=-1)
        condition = condition_vector(condition, self.num_classes, len(z))
        shared = []
        if condition is not None:
            shared = [nn.Dense(self.embedding, use_bias=False, name="shared")(condition)]
        rows, columns = base_size(tuple(self.shape), blocks)
        h = normalised(nn.Dense(rows * columns * self.widths[0]))(start, train)
        h = h.reshape(len(z), rows, columns, self.widths[0])
        for block, (width, piece) in enumerate(zip(self.widths, rest), 1):
            h = GeneratorBlock(width)(h, jnp.concatenate([*shared, piece], -1), train)
            h = ImageAttention()(h, train) if block == self.attention else h
        h = nn.relu(batch_norm(train)(h))
        return nn.tanh(convolve(h, self.shape[-1], 3, True, train, "pixels"))
