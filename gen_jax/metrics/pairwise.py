"""Functions of all pairs of rows of two sets, a block of rows at a time, in float64.

A reduction sees a block of rows [R, D] and the whole other set [M, D] and returns one result per
row, so results do not depend on the size of the block. Memory stays at the two sets and a block of
`MAX_ELEMENTS` pairs, or of `MIN_ROWS` rows where those are more. Float64 because unbiased
estimators subtract nearly equal sums; the blocks run compiled on the default device.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.batching import in_batches, watched
from gen_jax.checks import as_array, no_type_check
from gen_jax.errors import ConfigError, DataError
from gen_jax.types import Array, Float, Num

MAX_ELEMENTS = 2**18
"""Pairs held at once: 2 MB in float64, which a processor's cache holds (three times as fast as 32
MB on one that was measured)."""

MIN_ROWS = 32
"""Rows of a block against a set however large, so that its products stay efficient."""


@no_type_check
def as_points(
    name: str, x: Num[Array | np.ndarray, "..."], minimum: int = 2
) -> Float[np.ndarray, "N D"]:
    """One row per example in float64, trailing axes flattened.

    Raises ConfigError for fewer than `minimum` examples, DataError for what are no finite real
    numbers.
    """
    with jax.enable_x64(True):  # so that no number is refused that float64 holds
        points = np.asarray(as_array(name, x, finite=False), np.float64)
    if points.ndim < 2 or len(points) < minimum or points.size == 0:
        raise ConfigError(
            f"{name} has shape {points.shape}; it must be [N, D] with N >= {minimum} and D >= 1"
        )
    if not np.isfinite(points).all():
        raise DataError(f"{name} holds values that are not finite")
    return points.reshape(len(points), -1)


@no_type_check
def as_pair(
    a: Num[Array | np.ndarray, "..."],
    b: Num[Array | np.ndarray, "..."],
    minimum: int = 2,
    names: tuple[str, str] = ("a", "b"),
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "M D"]]:
    """Two sets of points of the same dimension; raises ConfigError when the dimensions differ."""
    a, b = as_points(names[0], a, minimum), as_points(names[1], b, minimum)
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


@functools.partial(jax.jit, static_argnames=("reduce", "options"))
def _block(reduce, options, rows, others):
    return reduce(rows, *others, **dict(options))


@functools.partial(jax.jit, static_argnames="function")
def _pairs_of_blocks(function, rows, others, counts, diagonal, options):
    """Sum of function over pairs of two blocks; of one block with itself over its pairs i < j."""
    left, right = (jnp.arange(len(x)) for x in (rows, others))
    pairs = (left < counts[0])[:, None] & (right < counts[1])
    pairs &= ~diagonal | (left[:, None] < right)
    return jnp.sum(function(rows, others, *options), where=pairs)


def sum_of_pairs(function: Callable, x: Float[np.ndarray, "N D"], *options: np.ndarray) -> float:
    """Sum over the ordered pairs i != j of a symmetric `function(rows, others, *options)`.

    Each unordered pair is computed once, in square blocks of at most `MAX_ELEMENTS` pairs.
    """
    size = min(len(x), max(1, math.isqrt(MAX_ELEMENTS)))
    starts = range(0, len(x), size)
    with on_float64_device():
        blocks = [_filled(x[start : start + size], size) for start in starts]
        total = 0.0
        pairs = [*itertools.combinations_with_replacement(range(len(blocks)), 2)]
        for i, j in watched(pairs, "pairs"):
            (left, n), (right, m) = blocks[i], blocks[j]
            total += float(
                _pairs_of_blocks(function, left, right, jnp.array([n, m]), i == j, options)
            )
    return 2 * total


def _filled(rows: np.ndarray, size: int) -> tuple[Array, int]:
    """A block of `size` rows, the last ones zero, and how many there are."""
    return jnp.asarray(np.pad(rows, ((0, size - len(rows)), (0, 0)))), len(rows)


@contextlib.contextmanager
def on_float64_device() -> Iterator[None]:
    """Arrays are made in float64, on the default device; a TPU has no float64 of its own."""
    device = jax.devices("cpu")[0] if jax.default_backend() == "tpu" else None
    with jax.enable_x64(True), jax.default_device(device):
        yield


def map_rows(
    reduce: Callable, rows: Float[np.ndarray, "N D"], *others: np.ndarray, **options
) -> Any:
    """`reduce(block [R, D], *others, **options) -> [R, ...]` for every row, joined to [N, ...].

    `reduce` is a named function (compiled once per shape); `options` are hashable constants.
    """
    largest = max((len(other) for other in others), default=1)
    size = min(len(rows), max(MIN_ROWS, min(1024, MAX_ELEMENTS // largest)))
    with on_float64_device():
        on_device = tuple(jnp.asarray(other) for other in others)
        run = lambda block: _block(reduce, tuple(sorted(options.items())), block, on_device)
        return in_batches(run, size, rows, "pairs")
