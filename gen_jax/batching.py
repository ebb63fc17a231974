"""Functions of many rows within memory: batches of one shape, so that one program serves all."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gen_jax.types import Int


def batch_rows(n: int, size: int) -> Int[np.ndarray, "batches size"]:
    """Rows 0 .. n - 1 in batches of one size; the last batch is filled up with row n - 1."""
    return np.minimum(np.arange(-(-n // size) * size), n - 1).reshape(-1, size)


def in_batches(function: Callable[[Any], Any], size: int, x: np.ndarray) -> Any:
    """`function(x [size, ...])`, an array or a pytree of arrays [size, ...], of all rows [n, ...].

    The results lie on the host.
    """
    parts = [jax.tree.map(np.asarray, function(x[rows])) for rows in batch_rows(len(x), size)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(x)], *parts)
