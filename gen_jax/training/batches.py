"""Batches that come from outside, one by one, or not at all when the data are on the devices."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gen_jax.data.loader import subset
from gen_jax.errors import DataError
from gen_jax.types import Array, Key


class Batches:
    """The batches of a stream, checked against the first; None for ever when data are arrays."""

    def __init__(self, data: Any, batch_size: int):
        self.data, self.batch_size = data, batch_size
        self.streaming = not isinstance(data, Mapping)
        self._iterator: Any = None
        self._form: dict[str, tuple] = {}

    def first(self, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        """One batch, for its shapes and for `model.init`; of arrays, examples that the key draws.

        What starts from data (actnorm, codebooks, centres) would otherwise see one class of a set
        that is sorted.
        """
        if not self.streaming:
            seed = np.asarray(jax.random.key_data(key)).ravel()
            return {n: np.asarray(v) for n, v in subset(self.data, self.batch_size, seed).items()}
        batch = self._next(iter(self.data(0)), 0)
        self._form = _form(batch)
        for name, (shape, _) in self._form.items():
            if shape[:1] != (self.batch_size,):
                raise DataError(
                    f"the stream's {name!r} has shape {shape}; batch_size={self.batch_size} "
                    "must be its leading axis"
                )
        return batch

    def start(self, step: int) -> None:
        """Go to the batch of this step."""
        if self.streaming:
            self._iterator = iter(self.data(step))

    def next(self, step: int) -> dict[str, Any] | None:
        """The batch of this step. Raises DataError when it is missing or of another form."""
        if not self.streaming:
            return None
        batch = self._next(self._iterator, step)
        if _form(batch) != self._form:
            raise DataError(f"batch {step} is {_form(batch)}, the first one was {self._form}")
        return batch

    def _next(self, iterator: Any, step: int) -> dict[str, Any]:
        try:
            return next(iterator)
        except StopIteration:
            raise DataError(f"the stream ended before batch {step}") from None


def _form(batch: Mapping[str, Any]) -> dict[str, tuple]:
    """Shape and dtype of each array."""
    return {name: (tuple(np.shape(v)), str(v.dtype)) for name, v in batch.items()}
