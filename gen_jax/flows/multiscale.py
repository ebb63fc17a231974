"""Multi-scale flows of images (dinh2017): pixels become channels, and half of these leave early."""

import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.flows.bijector import Bijector, Layer, Shape
from gen_jax.nets.blocks import depth_to_space, space_to_depth


def image_shape(shape: Shape) -> tuple[int, int, int]:
    """(H, W, C). Raises ConfigError for another shape."""
    if isinstance(shape, int) or len(shape) != 3:
        raise ConfigError(f"shape={shape} must be (H, W, C): the layer is for images")
    return shape[0], shape[1], shape[2]


def squeeze() -> Layer:
    """Data [B, H, W, C] from a base [B, H/2, W/2, 4 C]: 2 x 2 pixels are four channels.

    Raises ConfigError for odd sizes.
    """

    def base_shape(shape):
        h, w, c = image_shape(shape)
        if h % 2 or w % 2:
            raise ConfigError(f"squeeze: height {h} and width {w} must be even")
        return (h // 2, w // 2, 4 * c)

    def init(key, shape, extra=0):
        base_shape(shape)
        return ()

    def forward(z):
        return depth_to_space(z, 2), jnp.zeros(len(z), z.dtype)

    def inverse(x):
        base_shape(x.shape[1:])
        return space_to_depth(x, 2), jnp.zeros(len(x), x.dtype)

    return Layer(init, lambda params, condition=None: Bijector(forward, inverse), base_shape)


def factor_out(inner: Layer) -> Layer:
    """`inner` on the first half of the channels; the others are left as they are.

    The base has the shape of the data: first inner's base, shaped back to the pixels, then the
    rest. For a prior of the rest that knows the first half (kingma2018), put an image coupling with
    mask "first_channels" between it and the data.
    """

    def half(shape):
        h, w, c = image_shape(shape)
        if c % 2:
            raise ConfigError(f"factor_out: the number of channels {c} must be even")
        return (h, w, c // 2)

    def base_shape(shape):
        half(shape)
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
