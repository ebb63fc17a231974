"""Batches as a pure function of (key, step): a run resumed at step k sees what it would have seen.

The stream of examples is one epoch after the other, every epoch in its own order, cut into batches
that may straddle epochs. The order is not stored: position p of an epoch goes through a keyed
bijection of {0, ..., N-1}, at a cost that does not grow with N.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_array, as_arrays, as_key, is_known, no_type_check
from gen_jax.errors import ConfigError, DataError, check_range, shown
from gen_jax.types import Array, Int, Key, Shaped

ROUNDS = 32
GOLDEN = 0x9E3779B9
MAX_EXAMPLES = 2**30


def _mix(h: Array) -> Array:
    """The finaliser of MurmurHash3: a bijection of uint32 that looks random."""
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def _shuffled(words: Array, position: Array, n: int) -> Array:
    """The image of each position [B] under the permutation of {0, ..., n-1} its words [B, 2] draw.

    The swap-or-not shuffle (hoang2012): each round pairs v with pivot - v mod n and swaps the pair
    or not by a hash that both share. A bijection for any n, without branches or loops.
    """
    v = position
    for r in range(1, ROUNDS + 1):
        salt = jnp.uint32(r * GOLDEN % 2**32)
        partner = (_mix(words[:, 0] + salt) % n + (n - v)) % n
        coin = _mix(jnp.maximum(v, partner) ^ _mix(words[:, 1] + salt)) >> 31
        v = jnp.where(coin == 1, partner, v)
    return v


def _epoch_and_offset(step, factor: int, n: int):
    """(step * factor) divmod n by doubling and adding: the product itself may overflow int32."""
    step = jnp.asarray(step, jnp.int32)
    epoch, offset = jnp.int32(0), jnp.int32(0)
    for bit in bin(factor)[2:]:
        epoch, offset = 2 * epoch + 2 * offset // n, 2 * offset % n
        if bit == "1":
            offset = offset + step % n
            epoch, offset = epoch + step // n + offset // n, offset % n
    return epoch, offset


@no_type_check
def batch_indices(
    key: Key[Array, ""], step: int | Int[Array, ""], num_examples: int, batch_size: int
) -> Int[Array, "batch_size"]:
    """The examples of batch `step`: int32 in [0, num_examples), a pure function of (key, step).

    Examples step * batch_size, ... of an endless stream of epochs, each of which visits every
    example exactly once in its own order. jit-able with `step` traced; costs O(batch_size).
    `step` is below 2^31 and so is the number of the epoch. Raises ConfigError for sizes < 1.
    """
    key = as_key("key", key)
    check_range("num_examples", num_examples, 1, MAX_EXAMPLES, integer=True)
    check_range("batch_size", batch_size, 1, MAX_EXAMPLES, integer=True)
    if not isinstance(step, jax.Array | np.ndarray):
        check_range("step", step, 0, 2**31 - 1, integer=True)
    epoch, offset = _epoch_and_offset(step, batch_size, num_examples)
    position = offset + jnp.arange(batch_size, dtype=jnp.int32)
    epochs = epoch + position // num_examples
    words = jax.vmap(lambda e: jax.random.bits(jax.random.fold_in(key, e), (2,), jnp.uint32))(
        epochs
    )
    place = (position % num_examples).astype(jnp.uint32)
    return _shuffled(words, place, num_examples).astype(jnp.int32)


@no_type_check
def take(
    data: Mapping[str, Array | np.ndarray], indices: Int[Array, "B"]
) -> dict[str, Shaped[Array, "B ..."]]:
    """The examples at `indices` of every array in `data` (leading axis N), as arrays [B, ...].

    Raises DataError for what is no mapping of arrays, ConfigError for known indices that are not
    integers in 0 .. N - 1.
    """
    data, indices = as_arrays("data", data, finite=False), as_array("indices", indices)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise ConfigError(f"indices are {shown(indices)}, must be integers")
    if is_known(indices) and indices.size:
        count = min((len(values) for values in data.values()), default=0)
        low, high = int(np.asarray(indices).min()), int(np.asarray(indices).max())
        if low < 0 or high >= count:
            raise ConfigError(f"indices span {low} to {high}, must be in [0, {count - 1}]")
    return {name: jnp.asarray(values)[indices] for name, values in data.items()}


@no_type_check
def subset(
    data: Mapping[str, Array | np.ndarray], count: int | None = None, seed: Any = 0
) -> dict[str, Any]:
    """`count` examples (all if None) in an order that the seed alone decides.

    A set may be sorted, by class say, and its first examples then are no sample of it. A smaller
    subset is the start of a larger one.

    Args:
      seed: an integer below 2^32, or several.
    Raises DataError for data without "x" or of unequal lengths, ConfigError for a count that is not
    from 1 to the number of examples.
    """
    data = as_arrays("data", data, finite=False)
    if "x" not in data:
        raise DataError(f"data has no 'x' (it has: {', '.join(map(repr, data)) or 'nothing'})")
    lengths = {name: np.shape(values)[:1] for name, values in data.items()}
    if () in lengths.values() or len(set(lengths.values())) > 1:
        raise DataError(f"data has arrays of unequal or no length: {lengths}")
    if count is not None:
        check_range("count", count, 1, len(data["x"]), integer=True)
    if np.ndim(seed) == 0:
        check_range("seed", seed, 0, 2**32 - 1, integer=True)
    # RandomState's stream is frozen, unlike default_rng's.
    order = np.random.RandomState(seed).permutation(len(data["x"]))[:count]
    return {name: values[order] for name, values in data.items()}


@no_type_check
def check_batchable(
    data: Mapping[str, Array | np.ndarray], batch_size: int, num_classes: int | None = None
) -> None:
    """Raise unless batches of `batch_size` can be cut from `data`.

    DataError: no "x", no examples, arrays of unequal length, labels that are not integers, negative
    or >= num_classes (when given), non-finite floats. ConfigError: batch_size < 1 or above the set.
    """
    data = as_arrays("data", data)
    if "x" not in data:
        raise DataError(f"data has no 'x' (it has: {', '.join(map(repr, data)) or 'nothing'})")
    lengths = {name: np.shape(values)[:1] for name, values in data.items()}
    if len(set(lengths.values())) > 1 or lengths["x"] == ():
        shown = ", ".join(f"{name} {np.shape(values)}" for name, values in data.items())
        raise DataError(f"data arrays must share their leading axis (found: {shown})")
    count = lengths["x"][0]
    if count == 0:
        raise DataError("data is empty: 'x' has 0 examples")
    check_range("batch_size", batch_size, 1, integer=True)
    if batch_size > count:
        raise ConfigError(f"batch_size={batch_size} is above the {count} examples of the data")
    if "y" in data:
        _check_labels(data["y"], num_classes)


def _check_labels(labels: Array | np.ndarray, num_classes: Any) -> None:
    if num_classes is not None:
        check_range("num_classes", num_classes, 1, integer=True)
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.ndim != 1:
        found = f"labels of {labels.dtype} {labels.shape}"
        raise DataError(f"data 'y': {found} (expected integers of shape [N])")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        top = "" if num_classes is None else f" and below {num_classes}"
        raise DataError(f"data 'y': labels span {low} to {high} (expected at least 0{top})")


class _Batches:
    """A random-access source for grain whose item `step` is the whole batch of that step."""

    def __init__(self, source: Any, seed: int, batch_size: int):
        self.source, self.batch_size = source, batch_size
        self.count = len(source["x"]) if isinstance(source, Mapping) else len(source)
        self.key = jax.random.key(seed)
        self.indices = jax.jit(batch_indices, static_argnums=(2, 3))

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        index = np.asarray(self.indices(self.key, step, self.count, self.batch_size))
        if isinstance(self.source, Mapping):
            return {name: values[index] for name, values in self.source.items()}
        records = self.source.__getitems__(index.tolist())
        return {name: np.stack([record[name] for record in records]) for name in records[0]}


@no_type_check
def stream(
    source: Any,
    seed: int,
    batch_size: int,
    start_step: int = 0,
    *,
    num_threads: int = 2,
    prefetch: int = 4,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless batches from `start_step` on, read ahead by background threads (grain).

    Batch k is `take(data, batch_indices(jax.random.key(seed), k, ...))`, so it is the same whether
    the run was resumed, and the same as for data held in memory.

    Args:
      source: arrays `{"x": [N, ...], ...}` (memory-mapped ones too), or anything with `len` and
        `__getitems__(indices) -> [{"x": ..., "y": ...}, ...]` such as `images.ImageSource`.
      num_threads: threads that read; 0 reads in the caller's thread.
      prefetch: batches held ready.
    Raises DataError for an empty source, ConfigError for a bad size or step.
    """
    import grain

    check_range("seed", seed, 0, 2**32 - 1, integer=True)
    check_range("start_step", start_step, 0, 2**31 - 1, integer=True)
    check_range("num_threads", num_threads, 0, integer=True)
    check_range("prefetch", prefetch, 1, integer=True)
    if isinstance(source, Mapping):
        source = as_arrays("source", source)
        check_batchable(source, batch_size)
    elif not all(hasattr(source, name) for name in ("__len__", "__getitems__")):
        raise DataError(
            f'source={shown(source)} must be a mapping {{"x": array, ...}}, or offer len and '
            "__getitems__"
        )
    elif len(source) == 0:
        raise DataError("the source is empty: it has 0 examples")
    check_range("batch_size", batch_size, 1, MAX_EXAMPLES, integer=True)
    batches = _Batches(source, seed, batch_size)
    if batch_size > batches.count:
        raise ConfigError(f"batch_size={batch_size} is above the {batches.count} examples")
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    steps = grain.MapDataset.source(batches).slice(slice(start_step, None))
    return iter(steps.to_iter_dataset(options))
