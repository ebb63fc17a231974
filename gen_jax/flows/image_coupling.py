"""Coupling layers of images: masked pixels or channels stay and a small network moves the rest.

Checkerboards before squeezing and channels after it are those of dinh2017; halves of the image are
NICE's (dinh2015).
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.flows.bijector import Bijector, Layer, with_condition
from gen_jax.flows.elementwise import Elementwise
from gen_jax.flows.multiscale import image_shape
from gen_jax.nets import ConvNet
from gen_jax.types import Array


def _pixels(stays: Callable) -> Callable:
    """A mask that is the same for all channels: `stays(rows, columns)` of the shape's indices."""

    def mask(shape):
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        pixels = np.broadcast_to(stays(rows, columns, shape), shape[:2])
        return np.repeat(pixels[..., None], shape[2], -1)

    return mask


def _channels(stays: Callable) -> Callable:
    return lambda shape: np.broadcast_to(stays(np.arange(shape[2]), shape[2]), shape)


IMAGE_MASKS: dict[str, Callable[[tuple[int, int, int]], np.ndarray]] = {
    "even_pixels": _pixels(lambda row, column, shape: (row + column) % 2 == 0),
    "odd_pixels": _pixels(lambda row, column, shape: (row + column) % 2 == 1),
    "top": _pixels(lambda row, column, shape: row + 0 * column < shape[0] // 2),
    "bottom": _pixels(lambda row, column, shape: row + 0 * column >= shape[0] // 2),
    "first_channels": _channels(lambda channel, count: channel < count // 2),
    "last_channels": _channels(lambda channel, count: channel >= count // 2),
}
"""What stays, by name: `(H, W, C) -> bool [H, W, C]`."""


def image_coupling(
    function: Elementwise, mask: str = "first_channels", width: int = 32, depth: int = 1
) -> Layer:
    """What the mask leaves out moves by `function`, with parameters from what stays.

    Args:
      width, depth: of the `nets.ConvNet` that gives the parameters.
    A condition [B, E] or [B, H, W, E] is further channels of its input. Raises ConfigError for
    unknown masks and, in `init`, for images where nothing stays.
    """
    check_choice("mask", mask, IMAGE_MASKS)
    check_range("width", width, 1, integer=True)
    check_range("depth", depth, 0, integer=True)

    def parts(shape):
        """The mask, the channels with something that stays, those with something that moves."""
        stays = IMAGE_MASKS[mask](image_shape(shape))
        seen, moved = stays.any((0, 1)), (~stays).any((0, 1))
        if not seen.any() or not moved.any():
            raise ConfigError(f"mask={mask!r} leaves nothing to couple in images of shape {shape}")
        return stays, np.flatnonzero(seen), np.flatnonzero(moved)

    network = lambda moved: ConvNet(len(moved) * function.size, width, depth)

    def init(key, shape, extra=0):
        _, seen, moved = parts(shape)
        return network(moved).init(key, jnp.zeros((1, *shape[:2], len(seen) + extra)))

    def bijector(params, condition=None):
        def apply(one):
            def run(x):
                stays, seen, moved = parts(x.shape[1:])
                shown = jnp.where(stays, x, 0)[..., seen]
                raw: Array = network(moved).apply(params, with_condition(shown, condition))  # type: ignore[assignment]
                part, still = x[..., moved], stays[..., moved]
                new, log_slope = one(part, raw.reshape(*part.shape, function.size))
                log_det = jnp.where(still, 0, log_slope).sum((1, 2, 3))
                return x.at[..., moved].set(jnp.where(still, part, new)), log_det

            return run

        return Bijector(apply(function.forward), apply(function.inverse))

    return Layer(init, bijector)
