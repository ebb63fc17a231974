"""BEGAN's critic: an autoencoder that scores an image by how badly it returns it."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range, check_widths
from gen_jax.gan_nets.conditioning import condition_vector
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.gan_nets.resampling import base_size, double, halve
from gen_jax.nets.blocks import check_image
from gen_jax.types import Array, Float


class AutoencoderCritic(nn.Module):
    """score = mean |x - D(E(x))| over the pixels, the L of berthelot2017 eq. 1; features E(x).

    Per width a 3x3 convolution and a halving on the way in, a doubling and a convolution on the way
    out; elu; linear at the narrowest place and at the end.
    """

    widths: tuple[int, ...] = (16, 32)
    latent: int = 32
    num_classes: int = 0

    def __post_init__(self):
        check_widths("widths", self.widths)
        check_range("latent", self.latent, 1, integer=True)
        check_range("num_classes", self.num_classes, 0, 0, integer=True)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], condition: Any = None, *, train: bool = False
    ) -> CriticOutput:
        check_image(x)
        condition_vector(condition, self.num_classes, len(x))  # refuses labels
        size = base_size(x.shape[1:], len(self.widths))
        h = x
        for width in self.widths:
            h = halve(nn.elu(nn.Conv(width, (3, 3))(h)))
        code = nn.Dense(self.latent, name="code")(h.reshape(len(x), -1))
        h = nn.Dense(size[0] * size[1] * self.widths[-1])(code)
        h = h.reshape(len(x), *size, self.widths[-1])
        for width in reversed(self.widths):
            h = nn.elu(nn.Conv(width, (3, 3))(double(h)))
        error = jnp.abs(x - nn.Conv(x.shape[-1], (3, 3), name="pixels")(h))
        return CriticOutput(error.mean((1, 2, 3)), code)
