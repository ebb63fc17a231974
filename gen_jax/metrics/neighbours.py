"""Nearest neighbours of rows in another set, exact in float64, a tile of pairs at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.batching import in_batches
from gen_jax.divergences.distances import squared_distances
from gen_jax.metrics import pairwise
from gen_jax.types import Array, Float, Int

ROWS = 512
"""Of a block. A tile is as many rows of the other set as make `pairwise.MAX_ELEMENTS` pairs with
them, so that products are square and stay in the cache."""


def nearest_neighbours(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"], k: int = 1
) -> tuple[Float[np.ndarray, "N k"], Int[np.ndarray, "N k"]]:
    """Squared distances to the k nearest rows of y, from the nearest on, and which rows these are;
    of equal distances the first row counts first. `k` is at most M."""
    size = min(ROWS, len(x))
    tile = min(len(y), max(k, pairwise.MAX_ELEMENTS // size))
    with pairwise.on_float64_device():
        tiles = jnp.asarray(np.pad(y, ((0, -len(y) % tile), (0, 0)))).reshape(-1, tile, y.shape[1])
        find = lambda block: _nearest(block, tiles, len(y), k)
        return in_batches(find, size, x, "neighbours")


@functools.partial(jax.jit, static_argnames=("count", "k"))
def _nearest(x: Array, tiles: Array, count: int, k: int) -> tuple[Array, Array]:
    """Of a block of rows [R, D], by all tiles [T, tile, D], which hold `count` rows."""
    lines = jnp.arange(len(x))

    def merge(best, found):
        start, y = found
        numbers = start + jnp.arange(len(y), dtype=jnp.int32)
        squares = jnp.where(numbers < count, squared_distances(x, y), jnp.inf)
        # Striking out the minimum: XLA's float64 top_k on the CPU sorts, ten times slower.
        for _ in range(k):
            place = jnp.argmin(squares, 1)
            own = squares[lines, place][:, None], numbers[place][:, None]
            best = tuple(jnp.concatenate(pair, 1) for pair in zip(best, own))
            squares = squares.at[lines, place].set(jnp.inf)
        order = jnp.argsort(best[0], axis=1, stable=True)[:, :k]
        return tuple(jnp.take_along_axis(part, order, 1) for part in best), None

    start = jnp.full((len(x), k), jnp.inf), jnp.zeros((len(x), k), jnp.int32)
    starts = jnp.arange(len(tiles), dtype=jnp.int32) * tiles.shape[1]
    return jax.lax.scan(merge, start, (starts, tiles))[0]
