"""The generator of CycleGAN: an image to an image by residual blocks (johnson2016, zhu2017)."""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.gan_nets.unet_generator import STRIDES, check_channels
from gen_jax.nets.blocks import check_image, instance_norm, pad_to_multiple
from gen_jax.types import Array, Float, Key


def reflected(x: Float[Array, "B H W C"], border: int) -> Float[Array, "B H2 W2 C"]:
    """The image with a border that mirrors it."""
    sides = (border, border)
    return jnp.pad(x, ((0, 0), sides, sides, (0, 0)), mode="reflect")


class ResNetGenerator(nn.Module):
    """7x7 convolution, halvings, residual blocks, doublings, 7x7 convolution, tanh.

    All but the last are followed by instance normalisation and relu, and borders are mirrored.
    Images are padded with zeros (below, right) to a multiple of 2^(levels - 1) and the result is
    cropped back. Without noise.

    Fields:
      outputs: channels of the result.
      widths: channels at each resolution, half of the one before.
      blocks: residual blocks at the last one (6 or 9 in zhu2017, with widths 64, 128, 256).
    """

    outputs: int = 1
    widths: tuple[int, ...] = (32, 64)
    blocks: int = 3

    def __post_init__(self):
        check_channels(self.outputs, self.widths)
        check_range("blocks", self.blocks, 0, integer=True)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], keys: Key[Array, "B"] | None = None
    ) -> Float[Array, "B H W D"]:
        """Values in [-1, 1]; `keys` are not used."""
        check_image(x)
        del keys
        conv = partial(nn.Conv, padding="VALID")
        h = reflected(pad_to_multiple(x, 2 ** (len(self.widths) - 1)), 3)
        h = nn.relu(instance_norm(conv(self.widths[0], (7, 7))(h)))
        for width in self.widths[1:]:
            h = nn.relu(instance_norm(nn.Conv(width, (3, 3), STRIDES)(h)))
        for _ in range(self.blocks):
            inner = nn.relu(instance_norm(conv(self.widths[-1], (3, 3))(reflected(h, 1))))
            h = h + instance_norm(conv(self.widths[-1], (3, 3))(reflected(inner, 1)))
        for width in reversed(self.widths[:-1]):
            h = nn.relu(instance_norm(nn.ConvTranspose(width, (3, 3), STRIDES)(h)))
        h = jnp.tanh(conv(self.outputs, (7, 7))(reflected(h, 3)))
        return h[:, : x.shape[1], : x.shape[2]]
