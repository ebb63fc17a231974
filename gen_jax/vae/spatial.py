"""Convolutional coders whose latents are a small image (rombach2022, sec. 3.1)."""

import math

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range, check_shape
from gen_jax.nets.blocks import depth_to_space, space_to_depth
from gen_jax.types import Array, Float
from gen_jax.vae.code_networks import Residual, shapes_of
from gen_jax.vae.options import Network


class SpatialEncoder(nn.Module):
    """Vectors of images to numbers of a posterior of latents [h, w, c], each number a map in turn.

    A halving cuts 2 x 2 pixels into channels; a residual block follows the last. Raises ConfigError
    for vectors of another size, such as of images with labels.
    """

    takes_condition = False

    size: int
    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    width: int = 32

    @nn.compact
    def __call__(self, x: Float[Array, "B E"]) -> Float[Array, "B P"]:
        if x.shape[1:] != (math.prod(self.shape),):
            raise ConfigError(f"the encoder has {x.shape[1]} inputs, must be of {self.shape} alone")
        h, places = x.reshape(len(x), *self.shape), math.prod(self.latent_shape[:2])
        while h.shape[1] > self.latent_shape[0]:
            h = nn.Conv(self.width, (1, 1))(space_to_depth(h, 2))
        maps = nn.Conv(self.size // places, (1, 1))(nn.silu(Residual(self.width)(h)))
        maps = maps.reshape(len(x), places, -1, self.latent_shape[2])
        return jnp.moveaxis(maps, 2, 1).reshape(len(x), self.size)


class SpatialDecoder(nn.Module):
    """Vectors of latents [h, w, c] to numbers of each value of an image; mirrors the encoder."""

    takes_condition = False

    size: int
    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    width: int = 32

    @nn.compact
    def __call__(self, z: Float[Array, "B D"]) -> Float[Array, "B P"]:
        if z.shape[1:] != (math.prod(self.latent_shape),):
            raise ConfigError(f"the decoder has {z.shape[1]} inputs, must be {self.latent_shape}")
        h = Residual(self.width)(nn.Conv(self.width, (3, 3))(z.reshape(len(z), *self.latent_shape)))
        while h.shape[1] < self.shape[0]:
            h = depth_to_space(nn.Conv(4 * self.width, (1, 1))(h), 2)
            h = Residual(self.width)(h)
        channels = self.size // math.prod(self.shape[:2])
        return nn.Conv(channels, (3, 3))(nn.silu(h)).reshape(len(z), self.size)


def convolutional(
    shape: tuple[int, ...], channels: int = 4, halvings: int = 2, width: int = 32
) -> tuple[Network, Network, int]:
    """Encoder, decoder and the option `latent` of a VAE of images with latents [h, w, channels].

    Args:
      shape: [H, W, C] of an image.
      halvings: the sides of the latents are those of the image divided by 2^halvings.
      width: channels of the convolutions.
    Raises ConfigError for images that cannot be halved so often, and values out of range. The
    posterior must be "diagonal" or another with as many numbers for each latent.

    >>> from gen_jax import vae
    >>> encoder, decoder, latent = vae.convolutional((28, 28, 1))
    >>> latent, encoder(2 * latent).latent_shape
    (196, (7, 7, 4))
    """
    check_shape("shape", shape)
    for name, value in {"channels": channels, "halvings": halvings, "width": width}.items():
        check_range(name, value, 1, integer=True)
    if len(shape) != 3:
        raise ConfigError(f"shape={shape} must be [H, W, C] of images")
    latent_shape = (*shapes_of(shape[:2], halvings, 1)[0], channels)
    latent = math.prod(latent_shape)

    def encoder(size: int) -> SpatialEncoder:
        if size % latent:
            raise ConfigError(f"the posterior has {size} numbers, must be a multiple of {latent}")
        return SpatialEncoder(size, shape, latent_shape, width)

    return encoder, lambda size: SpatialDecoder(size, shape, latent_shape, width), latent
