"""Functions of many rows within memory: batches of one shape, so that one program serves all."""

import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Int, Num

PATIENCE = 5.0
"""Seconds before a bar of progress is shown."""


def watched(items: Iterable[Any], title: str) -> Iterable[Any]:
    """The items; work that lasts shows a bar with the time left, on a terminal alone."""
    quiet = not getattr(sys.stderr, "isatty", lambda: False)()
    return tqdm(items, title, disable=quiet, delay=PATIENCE, leave=False)


def as_rows(x: Any) -> Any:
    """One row [D] per example of x [B, ...], trailing axes flattened; also of no examples."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def check_rows(argument: str, x: Num[Array | np.ndarray, "B ..."]) -> None:
    """Raise ConfigError unless there is an example."""
    if not x.shape[0]:
        raise ConfigError(f"{argument} has shape {x.shape}, must have at least one row")


def batch_rows(n: int, size: int) -> Int[np.ndarray, "batches size"]:
    """Rows 0 .. n - 1 in batches of one size; the last batch is filled up with row n - 1."""
    return np.minimum(np.arange(-(-n // size) * size), n - 1).reshape(-1, size)


def in_batches(
    function: Callable[[Any], Any], size: int, x: np.ndarray, title: str = "batches"
) -> Any:
    """`function(x [size, ...])`, an array or a pytree of arrays [size, ...], of all rows [n, ...].

    The results lie on the host; work that lasts shows its progress under `title`.
    """
    batches = watched(batch_rows(len(x), size), title)
    parts = [jax.tree.map(np.asarray, function(x[rows])) for rows in batches]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(x)], *parts)
