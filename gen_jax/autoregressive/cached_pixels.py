"""Fast sampling of PixelCNNs (ramachandran2017): no feature is computed twice.

Each layer keeps what it has computed; a new pixel costs one evaluation of each layer at that pixel
alone. Caches have the image's size with margins of zeros, so that shapes never change.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.autoregressive.decoding import Decoder
from gen_jax.nets.causal import Offsets, See, neighbours, whole
from gen_jax.types import Array, Float

IMAGE = "image"
"""What strict layers look at: the image itself, not what a layer computed."""


class Layout(NamedTuple):
    """What a network looks at: features by name, and how far its windows reach."""

    features: dict[str, int]
    margin: int

    def empty(self, batch: int, shape: tuple[int, ...]) -> dict[str, Array]:
        """Zeros [B, H + margin, W + 2 margin, F] by name."""
        height, width = shape[0] + self.margin, shape[1] + 2 * self.margin
        return {name: jnp.zeros((batch, height, width, f)) for name, f in self.features.items()}


def layout_of(call: Callable[..., Any], *arguments: Any) -> Layout:
    """What `call(*arguments, see)` looks at."""
    features, reach = {}, [0]

    def see(name, h, offsets):
        features[name] = h.shape[-1]
        reach.extend(max(-down, abs(right)) for down, right in offsets)
        return whole(name, h, offsets)

    jax.eval_shape(lambda *a: call(*a, see), *arguments)
    return Layout(features, max(reach))


def put(cache: Float[Array, "B H W F"], h: Array, margin: int, i: Array, j: Any) -> Array:
    """Write h [B, 1, n, F] at row i and from column j on."""
    return jax.lax.dynamic_update_slice(cache, h, (0, i + margin, j + margin, 0))


def at_pixel(caches: dict[str, Array], margin: int, i: Array, j: Array) -> See:
    """`See` for one pixel (i, j), h [B, 1, 1, F]; keeps h in `caches`, a dict of the caller."""

    def see(name: str, h: Array, offsets: Offsets) -> Array:
        if name != IMAGE:
            caches[name] = put(caches[name], h, margin, i, j)
        size = (h.shape[0], 1, 1, h.shape[3])
        start = lambda down, right: (0, i + margin + down, j + margin + right, 0)
        cut = lambda offset: jax.lax.dynamic_slice(caches[name], start(*offset), size)
        return jnp.concatenate([cut(offset) for offset in offsets], -1)

    return see


def in_row(caches: dict[str, Array], margin: int, i: Array) -> See:
    """`See` for the whole row i, h [B, 1, W, F]; keeps h in `caches`."""

    def see(name: str, h: Array, offsets: Offsets) -> Array:
        if name != IMAGE:
            caches[name] = put(caches[name], h, margin, i, 0)
        cache = caches[name]
        rows = jax.lax.dynamic_slice_in_dim(cache, i, margin + 1, 1)
        return neighbours(rows, offsets)[:, -1:, margin : cache.shape[2] - margin]

    return see


def place_of(index: Array, shape: tuple[int, ...], units: int) -> tuple[Array, Array, Array]:
    """(row, column, unit) of a place."""
    pixel = index // units
    return pixel // shape[1], pixel % shape[1], index % units


def remember(
    caches: dict[str, Array], layout: Layout, index: Array, value: Array, shape, units: int
) -> dict[str, Array]:
    """The caches with what the network reads [B, E] at place index - 1, if there is one."""
    row, column, unit = place_of(index - 1, shape, units)
    value = jnp.where(index > 0, value, 0)[:, None, None].astype(caches[IMAGE].dtype)
    start = (0, row + layout.margin, column + layout.margin, unit if units > 1 else 0)
    return {**caches, IMAGE: jax.lax.dynamic_update_slice(caches[IMAGE], value, start)}


def plain_decoder(
    network: Any, params: Any, condition, shape: tuple[int, ...], inputs: Any
) -> Decoder:
    """A PixelCNN pixel by pixel."""
    units, pixel = network.units, jnp.zeros((1, 1, 1, shape[2]))
    one = None if condition is None else condition[:1]
    layout = layout_of(lambda x, see: network.apply(params, x, one, see), pixel)

    def step(caches, index, previous):
        caches = remember(caches, layout, index, inputs(previous), shape, units)
        i, j, unit = place_of(index, shape, units)
        place = (0, i + layout.margin, j + layout.margin, 0)
        x = jax.lax.dynamic_slice(caches[IMAGE], place, (len(previous), 1, 1, shape[2]))
        out = network.apply(params, x, condition, at_pixel(caches, layout.margin, i, j))
        return out[:, 0, 0, unit], caches

    return Decoder(lambda batch: layout.empty(batch, shape), step)


def gated_decoder(
    network: Any, params: Any, condition, shape: tuple[int, ...], inputs: Any
) -> Decoder:
    """A gated PixelCNN: the vertical stack once per row, the horizontal one pixel by pixel."""
    units, pixel = network.units, jnp.zeros((1, 1, 1, shape[2]))
    one = None if condition is None else condition[:1]
    rows = lambda x, condition, see: network.apply(params, x, condition, see, method="rows")
    columns = lambda x, vertical, condition, see: network.apply(
        params, x, vertical, condition, see, method="columns"
    )
    vertical = jax.eval_shape(lambda x: rows(x, one, whole), pixel)
    above = layout_of(lambda x, see: rows(x, one, see), pixel)
    beside = layout_of(lambda x, vertical, see: columns(x, vertical, one, see), pixel, vertical)
    layout = Layout(above.features | beside.features, max(above.margin, beside.margin))

    def start(batch):
        row = [jnp.zeros((batch, 1, shape[1], h.shape[3]), h.dtype) for h in vertical]
        return layout.empty(batch, shape), row

    def prepare(cache, index, previous):
        caches = remember(cache[0], layout, index, inputs(previous), shape, units)
        i = place_of(index, shape, units)[0]
        x = jnp.zeros((len(previous), 1, *shape[1:]))
        vertical = rows(x, condition, in_row(caches, layout.margin, i))
        return caches, vertical

    def step(cache, index, previous):
        caches = remember(cache[0], layout, index, inputs(previous), shape, units)
        i, j, unit = place_of(index, shape, units)
        place = (0, i + layout.margin, j + layout.margin, 0)
        x = jax.lax.dynamic_slice(caches[IMAGE], place, (len(previous), 1, 1, shape[2]))
        vertical = [jax.lax.dynamic_slice_in_dim(h, j, 1, 2) for h in cache[1]]
        out = columns(x, vertical, condition, at_pixel(caches, layout.margin, i, j))
        return out[:, 0, 0, unit], (caches, cache[1])

    return Decoder(start, step, prepare, shape[1] * units)
