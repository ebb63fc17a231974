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


@functools.partial(jax.jit, static_argnames="k")
def _nearest(x: Array, tiles: Array, count: int | Array, k: int) -> tuple[Array, Array]:
    """Of a block of rows [R, D], by all tiles [T, tile, D], which hold `count` rows."""
    lines = jnp.arange(len(x))
    none = jnp.full((len(x), k), jnp.inf), jnp.zeros((len(x), k), jnp.int32)

    def merge(best, found):
        start, y = found
        numbers = start + jnp.arange(len(y), dtype=jnp.int32)

        def strike(i, carry):
            # The minimum is struck out: XLA's float64 top_k on the CPU sorts, ten times slower.
            squares, distances, rows = carry
            place = jnp.argmin(squares, 1)
            distances = distances.at[:, i].set(squares[lines, place])
            rows = rows.at[:, i].set(numbers[place])
            return squares.at[lines, place].set(jnp.inf), distances, rows

        squares = jnp.where(numbers < count, squared_distances(x, y), jnp.inf)
        _, *own = jax.lax.fori_loop(0, k, strike, (squares, *none))
        both = [jnp.concatenate(pair, 1) for pair in zip(best, own)]
        order = jnp.argsort(both[0], axis=1, stable=True)[:, :k]
        return tuple(jnp.take_along_axis(part, order, 1) for part in both), None

    starts = jnp.arange(len(tiles), dtype=jnp.int32) * tiles.shape[1]
    return jax.lax.scan(merge, none, (starts, tiles))[0]
