"""log p of a whole set by a run's own `log_prob`, in batches of one shape."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.shared.registry import Saved
from gen_jax.batching import batch_rows
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Key

BATCH_SIZE = 100


def in_batches(
    function: Callable[[Key[Array, ""], np.ndarray], Array], x: np.ndarray
) -> Float[np.ndarray, "N"]:
    """`function(key, batch)` of every example in float64, each batch with its own key."""
    batches = enumerate(batch_rows(len(x), min(BATCH_SIZE, len(x))))
    key_of = lambda i: jax.random.fold_in(jax.random.key(0), i)
    parts = [np.asarray(function(key_of(i), x[rows]), np.float64) for i, rows in batches]
    return np.concatenate(parts)[: len(x)]


def has_option(saved: Saved, option: str) -> bool:
    """Whether the run's `log_prob` has an option of this name."""
    compute: Any = saved.model.held.log_prob
    return compute is not None and option in compute.options


def log_prob(saved: Saved, x: np.ndarray, **options: int | str) -> Float[np.ndarray, "N"]:
    """log p(x) in nats; `options` are those of the model's `log_prob`.

    Raises ConfigError for a run without likelihoods.
    """
    compute = saved.model.log_prob
    if compute is None:
        raise ConfigError(f"run {str(saved.directory)!r} has no log-likelihood")
    return in_batches(lambda key, x: compute(key, saved.state, x, **options), x)
