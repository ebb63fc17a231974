"""Batches that come from outside, one by one, or not at all when the data are on the devices."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.batching import batch_rows
from gen_jax.checks import as_arrays
from gen_jax.data.loader import subset
from gen_jax.errors import DataError, shown
from gen_jax.types import Array, Key


class Batches:
    """The batches of a stream, checked against the first; None for ever when data are arrays.

    `check(batch)` raises for values that the model does not take. It is called with the batches
    that hold the extremes of the data: of arrays before training, of a stream where an array of
    it leaves the range seen so far.
    """

    def __init__(self, data: Any, batch_size: int):
        self.data, self.batch_size = data, batch_size
        self.streaming = not isinstance(data, Mapping)
        self.check: Callable[[Mapping[str, Any]], Any] = lambda batch: None
        self._iterator: Any = None
        self._form: dict[str, tuple] = {}
        self._seen: dict[str, tuple[float, float]] = {}

    def first(self, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        """One batch, for its shapes and for `model.init`; of arrays, examples that the key draws.

        What starts from data (actnorm, codebooks, centres) would otherwise see one class of a set
        that is sorted.
        """
        if not self.streaming:
            seed = np.asarray(jax.random.key_data(key)).ravel()
            return {n: np.asarray(v) for n, v in subset(self.data, self.batch_size, seed).items()}
        batch = self._next(self._from(0), 0, finite=True)
        if "x" not in batch:
            raise DataError(f"the stream's batches have no 'x' (they have: {', '.join(batch)})")
        self._form = _form(batch)
        for name, (shape, _) in self._form.items():
            if shape[:1] != (self.batch_size,):
                raise DataError(
                    f"the stream's {name!r} has shape {shape}; batch_size={self.batch_size} "
                    "must be its leading axis"
                )
        self._seen = _ranges(batch)
        return batch

    def check_extremes(self, first: Mapping[str, np.ndarray]) -> None:
        """`check` the rows with the smallest and largest values, where the first batch has none.

        Without its warnings: such rows say nothing of the scale of the data.
        """
        if self.streaming:
            return
        arrays = {name: np.asarray(v) for name, v in self.data.items()}
        rows = sorted(
            {
                int(find(values)) // max(values[0].size, 1)
                for name, values in arrays.items()
                for find, end in ((np.argmin, np.min), (np.argmax, np.max))
                if values.size and end(values) != end(first[name])
            }
        )
        for index in batch_rows(len(rows), self.batch_size):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                self.check({name: v[np.asarray(rows)[index]] for name, v in arrays.items()})

    def start(self, step: int) -> None:
        """Go to the batch of this step."""
        if self.streaming:
            self._iterator = self._from(step)

    def next(self, step: int) -> dict[str, Any] | None:
        """The batch of this step. Raises DataError when it is missing or of another form."""
        if not self.streaming:
            return None
        batch = self._next(self._iterator, step)
        if _form(batch) != self._form:
            raise DataError(f"batch {step} is {_form(batch)}, the first one was {self._form}")
        for name, (low, high) in _ranges(batch).items():
            old = self._seen[name]
            if low < old[0] or high > old[1]:
                self.check(batch)
                self._seen[name] = min(low, old[0]), max(high, old[1])
        return batch

    def _from(self, step: int) -> Iterator:
        try:
            inspect.signature(self.data).bind(step)
        except TypeError as error:
            raise DataError(f"data, a stream, must take the first step, but: {error}") from None
        except ValueError:  # a function of another language, which has no signature
            pass
        batches = self.data(step)
        try:
            return iter(batches)
        except TypeError:
            given = shown(batches)
            raise DataError(f"data({step}) returned {given}, must be batches in turn") from None

    def _next(self, iterator: Any, step: int, finite: bool = False) -> dict[str, Any]:
        try:
            return as_arrays(f"batch {step}", next(iterator), finite=finite)
        except StopIteration:
            raise DataError(f"the stream ended before batch {step}") from None


def _form(batch: Mapping[str, Any]) -> dict[str, tuple]:
    """Shape and dtype of each array."""
    return {name: (tuple(np.shape(v)), str(v.dtype)) for name, v in batch.items()}


def _ranges(batch: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Smallest and largest of each array of real numbers."""
    real = (jnp.integer, jnp.floating)
    numbers = {n: v for n, v in batch.items() if any(jnp.issubdtype(v.dtype, k) for k in real)}
    return {name: (v.min().item(), v.max().item()) for name, v in numbers.items() if v.size}
