"""Functions of all pairs of rows of two sets, a tile of pairs at a time, in float64.

A tile is a block of rows of one set and a block of the other. Blocks are filled up to `ROWS`, so
that one program serves all sizes, and a copy of a row has the distances of the row: products of
smaller blocks are rounded otherwise. Memory stays at the two sets and a tile. Float64 because
unbiased estimators subtract nearly equal sums; tiles run compiled on the default device.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.batching import as_rows, watched
from gen_jax.checks import no_type_check, on_host
from gen_jax.errors import ConfigError, DataError
from gen_jax.types import Array, Bool, Float, Int, Num

ROWS = 512
"""Rows of a block: a tile of them is 2 MB in float64, which a processor's cache holds (three times
as fast as 32 MB on one that was measured)."""


ROOM = 2.0**60
"""By which a power of a number stays below float64's largest, for sums over rows and dimensions."""


@no_type_check
def as_points(
    name: str, x: Num[Array | np.ndarray, "..."], minimum: int = 2, power: int = 2
) -> Float[np.ndarray, "N D"]:
    """One row per example in float64, trailing axes flattened.

    Raises ConfigError for fewer than `minimum` examples, DataError for what are no finite real
    numbers, and for numbers whose `power` float64 does not hold.
    """
    points = on_host(name, x, finite=False).astype(np.float64)
    if points.ndim < 2 or len(points) < minimum or points.size == 0:
        raise ConfigError(
            f"{name} has shape {points.shape}; it must be [N, D] with N >= {minimum} and D >= 1"
        )
    if not np.isfinite(points).all():
        raise DataError(f"{name} holds values that are not finite")
    largest, limit = np.abs(points).max(), (np.finfo(np.float64).max / ROOM) ** (1 / power)
    if largest > limit:
        raise DataError(
            f"{name} holds values of size {largest:.3g}, allowed: at most {limit:.3g}, whose power "
            f"{power} float64 holds (divide both sets by one number)"
        )
    return as_rows(points)


@no_type_check
def as_pair(
    a: Num[Array | np.ndarray, "..."],
    b: Num[Array | np.ndarray, "..."],
    minimum: int = 2,
    names: tuple[str, str] = ("a", "b"),
    power: int = 2,
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "M D"]]:
    """Two sets of points of the same dimension; raises ConfigError when the dimensions differ."""
    a, b = (as_points(name, x, minimum, power) for name, x in zip(names, (a, b)))
    if a.shape[1] != b.shape[1]:
        raise ConfigError(
            f"{names[0]} has {a.shape[1]} dimensions, {names[1]} {b.shape[1]}; they must be equal"
        )
    return a, b


@no_type_check
def centred_pair(
    a: Num[Array | np.ndarray, "..."],
    b: Num[Array | np.ndarray, "..."],
    minimum: int = 2,
    names: tuple[str, str] = ("a", "b"),
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "M D"]]:
    """`as_pair` around the row of the first set that is nearest to its mean.

    For functions of distances, whose products would lose what is small beside a common shift. Rows
    of whole numbers stay whole, so that equal distances stay equal.
    """
    a, b = as_pair(a, b, minimum, names)
    from_mean = a - a.mean(0)
    centre = a[np.argmin(np.einsum("nd,nd->n", from_mean, from_mean))]
    return a - centre, b - centre


class Block(NamedTuple):
    """Rows of a set, filled up with zeros.

    Fields:
      rows: [R, D] in float64.
      numbers: [R] of the rows within the set, on the host.
      there: [R], false for those that fill up, on the host.
    """

    rows: Float[Array, "R D"]
    numbers: Int[np.ndarray, "R"]
    there: Bool[np.ndarray, "R"]


def blocks_of(x: Float[np.ndarray, "N D"]) -> list[Block]:
    """All rows in blocks of one size."""
    numbers = np.arange(-(-len(x) // ROWS) * ROWS).reshape(-1, ROWS)
    rows = np.pad(x, ((0, numbers.size - len(x)), (0, 0))).reshape(*numbers.shape, -1)
    return [
        Block(jnp.asarray(block), which.astype(np.int32), which < len(x))
        for block, which in zip(rows, numbers)
    ]


@functools.partial(jax.jit, static_argnames="function")
def _sum_of_tile(function, left, right, options, once):
    """Sum over a tile; `once` of the pairs i < j alone."""
    pairs = left.there[:, None] & right.there
    pairs &= (left.numbers[:, None] < right.numbers) | ~once
    return jnp.sum(function(left.rows, right.rows, *options), where=pairs)


def sum_of_pairs(
    function: Callable,
    x: Float[np.ndarray, "N D"],
    y: Float[np.ndarray, "M D"] | None = None,
    *options: np.ndarray,
) -> float:
    """Sum of `function(rows, others, *options)` over all pairs of a row of x and one of y.

    Without y the function is symmetric and the sum goes over the ordered pairs i != j of x, each
    computed once.
    """
    with on_float64_device():
        left = blocks_of(x)
        if y is None:
            pairs = [*itertools.combinations_with_replacement(left, 2)]
        else:
            pairs = [*itertools.product(left, blocks_of(y))]
        once = np.array(y is None)
        sums = (_sum_of_tile(function, *p, options, once) for p in watched(pairs, "pairs"))
        return (1 + (y is None)) * sum(map(float, sums))


@functools.partial(jax.jit, static_argnames="function")
def _sum_along(function, block, options):
    """Of the rows with themselves."""
    own = lambda row: function(row[None], row[None], *options)[0, 0]
    return jnp.sum(jax.vmap(own)(block.rows), where=block.there)


def sum_of_diagonal(function: Callable, x: Float[np.ndarray, "N D"], *options: np.ndarray) -> float:
    """Sum of `function(rows, others, *options)` over the pairs of a row of x with itself."""
    with on_float64_device():
        return sum(float(_sum_along(function, block, options)) for block in blocks_of(x))


def fold_pairs(
    merge: Callable, first: Any, x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"]
) -> Any:
    """For each row of x what `merge` keeps of all rows of y: a pytree of arrays [N, ...].

    Args:
      merge: `(kept, block of x, block of y) -> kept`, jitted; kept is a pytree of arrays [R, ...].
      first: what is kept before any, of one row.
    """
    with on_float64_device():
        blocks, others, parts = blocks_of(x), blocks_of(y), []
        size = len(blocks[0].numbers)
        none = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (size, *np.shape(leaf))), first)
        for block in watched(blocks, "pairs"):
            kept = none
            for other in others:
                kept = merge(kept, block, other)
            parts.append(jax.tree.map(np.asarray, kept))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(x)], *parts)


@contextlib.contextmanager
def on_float64_device() -> Iterator[None]:
    """Arrays are made in float64, on the default device; a TPU has no float64 of its own."""
    device = jax.devices("cpu")[0] if jax.default_backend() == "tpu" else None
    with jax.enable_x64(True), jax.default_device(device):
        yield
