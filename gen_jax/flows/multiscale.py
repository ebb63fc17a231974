"""Multi-scale flows of images (dinh2017): pixels become channels, and half of these leave early."""

import math

import jax.numpy as jnp

from gen_jax.errors import ConfigError, check_range
from gen_jax.flows.bijector import Bijector, Layer, Shape
from gen_jax.nets.blocks import depth_to_space, space_to_depth


def image_shape(shape: Shape) -> tuple[int, int, int]:
    """(H, W, C). Raises ConfigError for another shape."""
    if isinstance(shape, int) or len(shape) != 3:
        raise ConfigError(f"shape={shape} must be (H, W, C): the layer is for images")
    return shape[0], shape[1], shape[2]


def squeeze(size: int = 2) -> Layer:
    """Data [B, H, W, C] from a base [B, H/size, W/size, size^2 C]: neighbours become channels.

    Raises ConfigError for sides that are not multiples of the size.
    """
    check_range("size", size, 1, integer=True)

    def base_shape(shape):
        h, w, c = image_shape(shape)
        if h % size or w % size:
            raise ConfigError(f"squeeze: height {h} and width {w} must be multiples of {size}")
        return (h // size, w // size, size**2 * c)

    def init(key, shape, extra=0):
        base_shape(shape)
        return ()

    def forward(z):
        return depth_to_space(z, size), jnp.zeros(len(z), z.dtype)

    def inverse(x):
        base_shape(x.shape[1:])
        return space_to_depth(x, size), jnp.zeros(len(x), x.dtype)

    return Layer(init, lambda params, condition=None: Bijector(forward, inverse), base_shape)


def as_image(shape: tuple[int, int, int]) -> Layer:
    """Images of this shape from vectors [B, D], pixel by pixel: for flows of points."""

    def flatten(x):
        return x.reshape(len(x), -1), jnp.zeros(len(x), x.dtype)

    def build(z):
        return z.reshape(len(z), *shape), jnp.zeros(len(z), z.dtype)

    def init(key, given, extra=0):
        if tuple(given) != tuple(shape):
            raise ConfigError(f"as_image({shape}) was given data of shape {given}")
        return ()

    make = lambda params, condition=None: Bijector(build, flatten)
    return Layer(init, make, lambda given: math.prod(shape))


def factor_out(inner: Layer) -> Layer:
    """`inner` on the first half of the channels; the others are left as they are.

    The base has the shape of the data: first inner's base, shaped back to the pixels, then the
    rest. For a prior of the rest given the first half (kingma2018), put an image coupling with
    mask "first_channels" between it and the data.
    """

    def half(shape):
        h, w, c = image_shape(shape)
        if c % 2:
            raise ConfigError(f"factor_out: the number of channels {c} must be even")
        return (h, w, c // 2)

    def base_shape(shape):
        inner.base_shape(half(shape))  # which refuses what it cannot take
        return shape

    def init(key, shape, extra=0):
        base_shape(shape)
        return inner.init(key, half(shape), extra)

    def start(params, x, condition=None):
        return inner.start(params, x[..., : x.shape[-1] // 2], condition)

    def bijector(params, condition=None):
        part = inner.bijector(params, condition)

        def forward(z):
            shape = half(z.shape[1:])
            kept, rest = jnp.split(z, 2, -1)
            kept, log_det = part.forward(
                kept.reshape(len(z), *image_shape(inner.base_shape(shape)))
            )
            return jnp.concatenate([kept, rest], -1), log_det

        def inverse(x):
            kept, rest = jnp.split(x, 2, -1)
            z, log_det = part.inverse(kept)
            return jnp.concatenate([z.reshape(kept.shape), rest], -1), log_det

        return Bijector(forward, inverse)

    return Layer(init, bijector, base_shape, start)
