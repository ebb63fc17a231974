"""From feature maps to an image, for style transfer (huang2017, sec. 6.1)."""

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.gan_nets.resnet_generator import reflected
from gen_jax.gan_nets.unet_generator import check_channels
from gen_jax.types import Array, Float


class StyleDecoder(nn.Module):
    """3x3 convolutions with mirrored borders, each followed by relu and a doubling, then tanh.

    No normalisation: it would take the style away. The result is cropped to `shape`.

    Fields:
      shape: (H, W, C) of the image.
      widths: channels before each doubling, from coarse to fine.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (64, 32)

    def __post_init__(self):
        check_channels(self.shape[-1], self.widths)
        super().__post_init__()

    @nn.compact
    def __call__(self, h: Float[Array, "B h w F"]) -> Float[Array, "B H W C"]:
        """Values in [-1, 1]."""
        conv = lambda width, h: nn.Conv(width, (3, 3), padding="VALID")(reflected(h, 1))
        for width in self.widths:
            h = nn.relu(conv(width, h)).repeat(2, axis=1).repeat(2, axis=2)
        h = nn.relu(conv(self.widths[-1], h))
        return jnp.tanh(conv(self.shape[-1], h))[:, : self.shape[0], : self.shape[1]]
