"""log p of a whole set by a run's own `log_prob`, in batches of one shape."""

import inspect
from collections.abc import Callable

import jax
import numpy as np

from experiments.shared.registry import Saved
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Key

BATCH_SIZE = 100


def in_batches(
    function: Callable[[Key[Array, ""], np.ndarray], Array], x: np.ndarray
) -> Float[np.ndarray, "N"]:
    """`function(key, batch)` of every example in float64; the last batch is filled up with its own
    last example, so that one compiled function serves all."""
    size, key, parts = min(BATCH_SIZE, len(x)), jax.random.key(0), []
    for i, start in enumerate(range(0, len(x), size)):
        rows = np.minimum(np.arange(start, start + size), len(x) - 1)
        value = function(jax.random.fold_in(key, i), x[rows])
        parts.append(np.asarray(value, np.float64)[: len(x) - start])
    return np.concatenate(parts)


def knows(saved: Saved, option: str) -> bool:
    """Whether the run's `log_prob` has an option of this name."""
    compute = saved.model.log_prob
    return compute is not None and option in inspect.signature(compute).parameters


def log_prob(saved: Saved, x: np.ndarray, **options: int | str) -> Float[np.ndarray, "N"]:
    """log p(x) in nats; `options` are those of the model's `log_prob`.

    Raises ConfigError for a run without likelihoods.
    """
    compute = saved.model.log_prob
    if compute is None:
        raise ConfigError(f"run {str(saved.directory)!r} has no log-likelihood")
    return in_batches(lambda key, x: compute(key, saved.state, x, **options), x)
