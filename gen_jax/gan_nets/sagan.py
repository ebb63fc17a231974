"""SAGAN: residual networks with attention and spectral norms everywhere (zhang2019)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range, check_widths
from gen_jax.gan_nets.conditioning import condition_vector, join
from gen_jax.gan_nets.critic_head import CriticHead
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.gan_nets.dcgan import batch_norm
from gen_jax.gan_nets.resampling import base_size
from gen_jax.gan_nets.residual_gan import (
    CriticBlock,
    GeneratorBlock,
    ImageAttention,
    convolve,
)
from gen_jax.gan_nets.spectral import normalised
from gen_jax.nets.blocks import check_image
from gen_jax.types import Array, Float


def check_attention(attention: int, widths: tuple[int, ...]) -> None:
    """Raise ConfigError unless the block is there."""
    check_range("attention", attention, 0, len(widths), integer=True)


class SAGANGenerator(nn.Module):
    """A dense layer, a block per width that doubles, attention after one of them, tanh.

    Labels reach every normalisation of the blocks, as a scale and a shift per class; the last one,
    before the pixels, is plain, as in the authors' code.

    Fields:
      widths: of each block, from the smallest image on.
      attention: after this many blocks; 0 for none.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (64, 32)
    num_classes: int = 0
    attention: int = 1

    def __post_init__(self):
        check_widths("widths", self.widths)
        check_attention(self.attention, self.widths)
        base_size(tuple(self.shape), len(self.widths))
        super().__post_init__()

    @nn.compact
    def __call__(
        self, z: Float[Array, "B L"], condition: Any = None, *, train: bool = False
    ) -> Float[Array, "B H W C"]:
        """Images in [-1, 1]."""
        condition = condition_vector(condition, self.num_classes, len(z))
        size = base_size(tuple(self.shape), len(self.widths))
        h = normalised(nn.Dense(size[0] * size[1] * self.widths[0]))(z, train)
        h = h.reshape(len(z), *size, self.widths[0])
        for block, width in enumerate(self.widths, 1):
            h = GeneratorBlock(width)(h, condition, train)
            h = ImageAttention()(h, train) if block == self.attention else h
        h = nn.relu(batch_norm(train)(h))
        return nn.tanh(convolve(h, self.shape[-1], 3, True, train, "pixels"))


class ResidualCritic(nn.Module):
    """The critic of SAGAN and BigGAN: a block per width, all but the last halve; a sum of pixels.

    Fields:
      attention: after this many blocks; 0 for none.
      conditional, num_classes, codes, dropout, minibatch: of `CriticHead`; the papers' are
        "projection" and nothing of the last two.
    """

    widths: tuple[int, ...] = (32, 64, 64)
    conditional: str = "none"
    num_classes: int = 0
    codes: int = 0
    attention: int = 1
    dropout: float = 0.0
    minibatch: str = "none"

    def __post_init__(self):
        check_widths("widths", self.widths)
        check_attention(self.attention, self.widths)
        super().__post_init__()

    @property
    def spectral(self) -> bool:
        """Whether every layer has spectral norm 1."""
        return True

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], condition: Any = None, *, train: bool = False
    ) -> CriticOutput:
        check_image(x)
        base_size(x.shape[1:], len(self.widths) - 1)
        if self.conditional == "concat":
            x = join(x, condition_vector(condition, self.num_classes, len(x)))
        last = len(self.widths)
        for block, width in enumerate(self.widths, 1):
            x = CriticBlock(width, block == 1, block < last)(x, train)
            x = ImageAttention()(x, train) if block == self.attention else x
        features = jnp.sum(nn.relu(x), (1, 2))
        kind = self.conditional, self.num_classes, self.codes
        head = CriticHead(*kind, self.spectral, self.dropout, self.minibatch)
        return head(features, condition, train=train)
