"""Functions of all pairs of rows of two sets, a block of rows at a time, in float64.

A reduction sees a block of rows [R, D] and the whole other set [M, D] and returns one result per
row, so results do not depend on the size of the block, and memory stays at about `MAX_ELEMENTS`
numbers however many rows there are. Float64 because unbiased estimators subtract nearly equal sums;
the blocks run compiled on the default device.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.batching import in_batches
from gen_jax.checks import as_array, no_type_check
from gen_jax.errors import ConfigError, DataError
from gen_jax.types import Array, Float, Num

MAX_ELEMENTS = 2**22
"""Pairs held at once: 32 MB in float64, small enough for a processor's cache to help."""


@no_type_check
def as_points(
    name: str, x: Num[Array | np.ndarray, "..."], minimum: int = 2
) -> Float[np.ndarray, "N D"]:
    """One row per example in float64, trailing axes flattened.

    Raises ConfigError for fewer than `minimum` examples, DataError for what are no finite real
    numbers.
    """
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
    centre = a[np.argmin(((a - a.mean(0)) ** 2).sum(1))]
    return a - centre, b - centre


@functools.partial(jax.jit, static_argnames=("reduce", "options"))
def _block(reduce, options, rows, others):
    return reduce(rows, *others, **dict(options))


def map_rows(
    reduce: Callable, rows: Float[np.ndarray, "N D"], *others: np.ndarray, **options
) -> np.ndarray:
    """`reduce(block [R, D], *others, **options) -> [R, ...]` for every row, joined to [N, ...].

    `reduce` is a named function (compiled once per shape); `options` are hashable constants.
    """
    largest = max((len(other) for other in others), default=1)
    size = min(len(rows), max(1, min(1024, MAX_ELEMENTS // largest)))
    # A TPU has no float64 of its own.
    device = jax.devices("cpu")[0] if jax.default_backend() == "tpu" else None
    with jax.enable_x64(True), jax.default_device(device):
        on_device = tuple(jnp.asarray(other) for other in others)
        run = lambda block: _block(reduce, tuple(sorted(options.items())), block, on_device)
        return in_batches(run, size, rows)
