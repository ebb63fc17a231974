"""Nearest neighbours of rows in another set, exact in float64, a tile of pairs at a time."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.divergences.distances import squared_distances
from gen_jax.metrics.pairwise import Block, fold_pairs
from gen_jax.types import Array, Float, Int


def nearest_neighbours(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"], k: int = 1
) -> tuple[Float[np.ndarray, "N k"], Int[np.ndarray, "N k"]]:
    """Squared distances to the k nearest rows of y, from the nearest on, and which rows these are;
    of equal distances the first row counts first. `k` is at most M."""
    return fold_pairs(_merge, (np.full(k, np.inf), np.zeros(k, np.int32)), x, y)


@jax.jit
def _merge(best: tuple[Array, Array], x: Block, y: Block) -> tuple[Array, Array]:
    """The nearest of the best so far, [R, k] each, and the rows of y, which come later."""
    lines, k = jnp.arange(len(x.rows)), best[0].shape[1]

    def strike(i, carry):
        # The minimum is struck out: XLA's float64 top_k on the CPU sorts, ten times slower.
        squares, distances, rows = carry
        place = jnp.argmin(squares, 1)
        distances = distances.at[:, i].set(squares[lines, place])
        rows = rows.at[:, i].set(y.numbers[place])
        return squares.at[lines, place].set(jnp.inf), distances, rows

    squares = jnp.where(y.there, squared_distances(x.rows, y.rows), jnp.inf)
    none = jnp.full_like(best[0], jnp.inf), jnp.zeros_like(best[1])
    _, *own = jax.lax.fori_loop(0, k, strike, (squares, *none))
    both = [jnp.concatenate(pair, 1) for pair in zip(best, own)]
    order = jnp.argsort(both[0], axis=1, stable=True)[:, :k]
    distances, rows = (jnp.take_along_axis(part, order, 1) for part in both)
    return distances, rows
