"""Causal neighbourhoods on grids of pixels: what comes before a pixel, row by row.

A masked convolution (oord2016pixel) is a linear map of the neighbours that its mask lets through,
so here those alone are read. Networks are written once over a function `see(name, h, offsets)` that
gathers them: for all pixels at once (`whole`), or at one place from what was kept of earlier ones.
A window that is a rectangle is convolved as a whole, which saves the gathering.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from gen_jax.axes import rows_of
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int

Offsets = tuple[tuple[int, int], ...]
"""(rows, columns) from a pixel to its neighbours, all in front of it or itself."""

See = Callable[[str, Array, Offsets], Array]
"""`(name, h [B, H, W, F], offsets) -> neighbours [B, H, W, len(offsets) F]`; the name is the
layer's, or "image" for strict layers, which look at the image itself."""


def window(rows: range, columns: range) -> Offsets:
    """All offsets of a rectangle."""
    return tuple((i, j) for i in rows for j in columns)


def check_window(argument: str, side: int) -> None:
    """Raise ConfigError unless a window of so many pixels has a centre and neighbours."""
    check_range(argument, side, 3, integer=True)
    if side % 2 == 0:
        raise ConfigError(f"{argument}={side} must be odd: the window has its pixel in the middle")


def raster(kernel: int, own: bool) -> Offsets:
    """The offsets before the centre of a square window, row by row; with `own` also the centre."""
    reach = range(-(kernel // 2), kernel // 2 + 1)
    before = tuple(offset for offset in window(reach, reach) if offset < (0, 0))
    return (*before, (0, 0)) if own else before


def neighbours(x: Float[Array, "B H W F"], offsets: Offsets) -> Float[Array, "B H W taps"]:
    """The features at `offsets` from every pixel, zeros outside the image, side by side."""
    height, width = x.shape[1:3]
    top = max((-i for i, _ in offsets), default=0)
    side = max((abs(j) for _, j in offsets), default=0)
    padded = jnp.pad(x, ((0, 0), (top, 0), (side, side), (0, 0)))
    cut = lambda i, j: padded[:, top + i : top + i + height, side + j : side + j + width]
    return jnp.concatenate([cut(i, j) for i, j in offsets], -1)


def whole(name: str, h: Float[Array, "B H W F"], offsets: Offsets) -> Float[Array, "B H W taps"]:
    """`See` for a whole image."""
    del name
    return neighbours(h, offsets)


def is_rectangle(offsets: Offsets) -> bool:
    """Whether a window, row by row, is all of a rectangle."""
    (top, left), (bottom, right) = offsets[0], offsets[-1]
    return offsets == window(range(top, bottom + 1), range(left, right + 1))


def convolved(
    x: Float[Array, "B H W F"], kernel: Float[Array, "taps G"], offsets: Offsets
) -> Float[Array, "B H W G"]:
    """`neighbours(x, offsets) @ kernel` of a rectangle, as a convolution: nothing is gathered."""
    x, kernel = promote_dtype(x, kernel)
    (top, left), (bottom, right) = offsets[0], offsets[-1]
    taps = kernel.reshape(bottom - top + 1, right - left + 1, x.shape[-1], -1)
    padding, form = ((-top, bottom), (-left, right)), ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, taps, (1, 1), padding, dimension_numbers=form)


class CausalConv(nn.Module):
    """A linear map of the neighbours at `offsets`.

    With groups > 1 feature f belongs to channel f mod groups, and at offset (0, 0) a channel sees
    the channels up to its own (mask B), or with `strict` those before its own (mask A), which is
    for the layers that read the image.
    """

    features: int
    offsets: Offsets
    groups: int = 1
    strict: bool = False
    zero: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W F"], see: See = whole) -> Float[Array, "B H W G"]:
        name = "image" if self.strict else "/".join(self.path)
        own = self.offsets == ((0, 0),)
        init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        taps = len(self.offsets) * x.shape[-1]
        kernel = self.param("kernel", init, (taps, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.groups > 1 and (0, 0) in self.offsets:
            kernel = kernel * self._mask(x.shape[-1])
        if see is whole and not own and is_rectangle(self.offsets):
            return convolved(x, kernel, self.offsets) + bias
        return (x if own else see(name, x, self.offsets)) @ kernel + bias

    def _mask(self, features: int) -> np.ndarray:
        """1 where a weight is allowed, [taps, features out]."""
        source, target = np.arange(features) % self.groups, np.arange(self.features) % self.groups
        later = source[:, None] >= target if self.strict else source[:, None] > target
        mask = np.ones((len(self.offsets), features, self.features), np.float32)
        mask[self.offsets.index((0, 0))] -= later
        return mask.reshape(-1, self.features)


class Label(nn.Module):
    """A learned vector per class [B, 1, 1, width], and one (row num_classes) for "no label".

    Zero without classes. A label outside 0 .. num_classes gives NaN. Raises ConfigError for a label
    when there are no classes.
    """

    num_classes: int
    width: int

    @nn.compact
    def __call__(self, label: Int[Array, "B"] | None, batch: int) -> Float[Array, "B 1 1 width"]:
        if self.num_classes == 0:
            if label is not None:
                raise ConfigError("label was given to a network with num_classes=0")
            return jnp.zeros((batch, 1, 1, self.width))
        if label is None:
            label = jnp.full(batch, self.num_classes, jnp.int32)
        shape = (self.num_classes + 1, self.width)
        table = self.param("table", nn.initializers.normal(0.1), shape)
        return rows_of(table, label)[:, None, None]


def check_units(units: int, channels: int, width: int) -> None:
    """Raise ConfigError unless the units of a pixel and a network's width fit its channels."""
    if units not in (1, channels):
        raise ConfigError(f"units={units} must be 1 or the number of channels, {channels}")
    if width % units:
        raise ConfigError(f"width={width} must be a multiple of units={units}")


def per_unit(h: Float[Array, "B H W G"], units: int) -> Float[Array, "B H W units P"]:
    """Outputs whose feature f belongs to channel f mod units, channel by channel."""
    return h.reshape(*h.shape[:3], -1, units).swapaxes(-1, -2)
