"""log p of a whole set by a run's own `log_prob`, and the error of what estimates it."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.shared.registry import Saved
from gen_jax import batching
from gen_jax.errors import ConfigError
from gen_jax.metrics import mean_and_error
from gen_jax.solvers.divergence import MOST_EXACT
from gen_jax.types import Array, Estimate, Float, Key

FEW = 16
"""Examples that try two numbers of steps, or two draws, before all are measured."""

BATCH_SIZE = 100
"""Examples at once on an accelerator. On a CPU these are FEW, which are faster there, and one
program serves both."""

STEPS = (8, 16, 32, 64, 128)
SHARE = 0.25
"""Most that the error of the steps may be of the standard error over examples."""

PROBES = 8
"""Of a divergence that is estimated where it could be exact."""
DRAWS = 1 / 3
"""Most that the error of its draws may be of the standard error over examples, which it raises by
one part in twenty."""


def in_batches(
    function: Callable[[Key[Array, ""], np.ndarray], Array], x: np.ndarray, seed: int = 0
) -> Float[np.ndarray, "N"]:
    """`function(key, batch)` of every example in float64, each batch with its own key."""
    keys = map(partial(jax.random.fold_in, jax.random.key(seed)), itertools.count())
    size = min(FEW if jax.default_backend() == "cpu" else BATCH_SIZE, len(x))
    each = batching.in_batches(lambda rows: function(next(keys), rows), size, x, "likelihood")
    return each.astype(np.float64)


def has_option(saved: Saved, option: str) -> bool:
    """Whether the run's `log_prob` has an option of this name."""
    compute: Any = saved.model.held.log_prob
    return compute is not None and option in compute.options


def log_prob(
    saved: Saved, x: np.ndarray, *, draw: int = 0, num_steps: int | None = None, **options: Any
) -> Float[np.ndarray, "N"]:
    """log p(x) in nats; `options` are those of the model's `log_prob`, `draw` seeds its noise.

    One program serves all numbers of steps. Raises ConfigError for a run without likelihoods.
    """
    if num_steps is not None:
        options["num_steps"] = np.asarray(num_steps)
    compute = saved.model.log_prob
    if compute is None:
        raise ConfigError(f"run {str(saved.directory)!r} has no log-likelihood")
    return in_batches(lambda key, x: compute(key, saved.state, x, **options), x, draw)


def takes_steps(saved: Saved) -> bool:
    """Whether log p is the solution of an equation, in a number of steps."""
    return saved.model.log_prob_kind == "estimate" and has_option(saved, "num_steps")


def options_of(saved: Saved, num_samples: int | None, steps: int | None) -> dict[str, int]:
    """Options of `measures.likelihoods` that were given; ConfigError for what the run has not."""
    options = {}
    if num_samples is not None:
        if not has_option(saved, "num_samples"):
            raise ConfigError(
                f"importance_samples={num_samples} is no option of a {saved.name!r} run"
            )
        options["num_samples"] = num_samples
    if steps is not None:
        if not takes_steps(saved):
            raise ConfigError(f"likelihood_steps={steps} is no option of a {saved.name!r} run")
        options["likelihood_steps"] = steps
    return options


class Steps(NamedTuple):
    """Steps taken, the change of mean log p by twice as many, and log p of few examples."""

    taken: int
    change: Estimate
    nats: Float[np.ndarray, "n"]


def estimated_divergence(saved: Saved) -> dict[str, Any]:
    """Options of a log p that is faster than with the exact divergence: for images of few pixels.
    That of larger ones is estimated anyway."""
    few = saved.spec.kind == "images" and PROBES < np.prod(saved.spec.shape) <= MOST_EXACT
    if few and has_option(saved, "num_probes"):
        return {"divergence": "hutchinson", "num_probes": PROBES}
    return {}


def error_over_examples(nats: Float[np.ndarray, "n"], num: int) -> float:
    """Standard error of the mean of `num` examples like these."""
    return float(nats.std(ddof=1)) / np.sqrt(num)


def chosen_steps(
    saved: Saved, x: np.ndarray, num: int, steps: int | None = None, **options: Any
) -> Steps:
    """Fewest of STEPS whose error is small, on few examples, with the same noise for both numbers.

    Small is at most SHARE of the standard error of the mean over `num` examples, two standard
    errors of the change included. `steps` given are taken, and their change is measured. `options`
    are those of `log_prob`.
    """
    few = x[:FEW]
    counts = STEPS if steps is None else (steps,)
    fine = log_prob(saved, few, num_steps=counts[0], **options)
    for count in counts:
        coarse, fine = fine, log_prob(saved, few, num_steps=2 * count, **options)
        change = mean_and_error(coarse - fine)
        if abs(change.value) + 2 * change.error <= SHARE * error_over_examples(fine, num):
            break
    return Steps(count, change, coarse)


def draws_error(
    saved: Saved, x: np.ndarray, num: int, first: np.ndarray | None = None, **options: Any
) -> float:
    """Standard error of a mean of `num` estimates of log p that is due to their draws alone.

    Dequantisation, probes, importance samples: by two draws for few examples, `first` those of
    draw 0 where they are known. 0 where nothing is drawn. The standard error over examples holds it
    already.
    """
    few = x[:FEW]
    first = log_prob(saved, few, **options) if first is None else first
    second = log_prob(saved, few, draw=1, **options)
    return float(np.sqrt(np.mean((first - second) ** 2) / 2 / num))


def settled(
    saved: Saved, x: np.ndarray, steps: int | None = None, **options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of `log_prob` for a whole set, and their errors, both found on few examples.

    The divergence is estimated where its draws cost less than DRAWS of the error over examples.
    """
    if not takes_steps(saved):
        return options, {"log_prob_nats_draws_error": draws_error(saved, x, len(x), **options)}
    estimated = estimated_divergence(saved)
    count, change, nats = chosen_steps(saved, x, len(x), steps, **options, **estimated)
    numbers = {"likelihood_steps": count, "log_prob_nats_steps_change": change}
    options = {**options, "num_steps": count}
    error = draws_error(saved, x, len(x), nats, **options, **estimated)
    if estimated and error > DRAWS * error_over_examples(nats, len(x)):
        error, estimated = draws_error(saved, x, len(x), **options), {}
    probes = {"likelihood_probes": PROBES} if estimated else {}
    return options | estimated, numbers | probes | {"log_prob_nats_draws_error": error}
