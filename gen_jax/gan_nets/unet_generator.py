"""The generator of pix2pix: an image to an image of the same size by a U-Net (isola2017, app. 6.1).

Its only noise is dropout, in training and in sampling: `keys` [B], one per example.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range, check_widths
from gen_jax.nets.blocks import check_image, instance_norm, pad_to_multiple
from gen_jax.randomness import fold_in
from gen_jax.types import Array, Float, Key

STRIDES = (2, 2)


def check_channels(outputs: int, widths: Sequence[int]) -> None:
    """Raise ConfigError unless there is a level and all are at least 1 wide."""
    check_range("outputs", outputs, 1, integer=True)
    check_widths("widths", widths)


def dropout(
    keys: Key[Array, "B"] | None, x: Float[Array, "B ..."], rate: float
) -> Float[Array, "B ..."]:
    """Zero each number with probability `rate` and divide the rest by 1 - rate; x without keys."""
    if keys is None or not rate:
        return x
    draw = lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:])
    return jnp.where(jax.vmap(draw)(keys), x / (1 - rate), 0)


class UNetGenerator(nn.Module):
    """4x4 convolutions of stride 2 down, transposed ones up, joined by concatenation, then tanh.

    Each entry of `widths` is one halving of the resolution. Instance normalisation everywhere but
    next to the image; dropout in the deeper half of the way up. Images are padded with zeros
    (below, right) to a multiple of 2^levels and the result is cropped back.

    Fields:
      outputs: channels of the result.
    """

    outputs: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    dropout: float = 0.5

    def __post_init__(self):
        check_channels(self.outputs, self.widths)
        check_range("dropout", self.dropout, 0, 0.99)
        if self.dropout and len(self.widths) == 1:
            raise ConfigError(
                f"dropout={self.dropout} has no layer to act on: widths={self.widths} is one level "
                "(dropout=0, or more levels)"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], keys: Key[Array, "B"] | None = None
    ) -> Float[Array, "B H W D"]:
        """Values in [-1, 1]; without keys no dropout."""
        check_image(x)
        h, skips = pad_to_multiple(x, 2 ** len(self.widths)), []
        for level, width in enumerate(self.widths):
            h = nn.leaky_relu(h, 0.2) if level else h
            h = nn.Conv(width, (4, 4), STRIDES)(h)
            h = instance_norm(h) if level else h
            skips.append(h)
        h = skips.pop()
        for level, width in reversed(list(enumerate((self.outputs, *self.widths[:-1])))):
            h = nn.ConvTranspose(width, (4, 4), STRIDES)(nn.relu(h))
            if level:
                h = instance_norm(h)
                deep = 2 * level >= len(self.widths)
                own = None if keys is None else fold_in(keys, level)
                h = dropout(own, h, self.dropout) if deep else h
                h = jnp.concatenate([h, skips.pop()], -1)
        return jnp.tanh(h)[:, : x.shape[1], : x.shape[2]]
