"""How far samples of a known density are from exact ones, beside how far two exact sets are."""

from typing import Any

import jax
import numpy as np

from gen_jax.checks import as_array, as_key, no_type_check
from gen_jax.divergences.wasserstein import sliced_wasserstein
from gen_jax.errors import ConfigError, shown
from gen_jax.metrics.modes import mode_weights
from gen_jax.sampling import Target
from gen_jax.types import Array, Estimate, Float, Key

MIN_EXPECTED = 5.0
"""A mode counts when exact samples would put at least so many points there."""

MIN_SHARE = 0.2
"""It is covered when it has at least this share of them."""

MAX_POINTS, NUM_REPEATS = 10_000, 5
"""Points per set of a sliced Wasserstein distance; pairs of exact sets that calibrate it."""


def _check_target(target: Any) -> None:
    if not isinstance(target, Target):
        raise ConfigError(f"target={shown(target)} must be a Target")


@no_type_check
def mode_numbers(target: Target, samples: Float[np.ndarray, "N D"]) -> dict[str, float]:
    """Modes covered, of how many, and the total variation of the mode weights, in [0, 1].

    Each sample belongs to the mode whose centre is nearest.
    """
    _check_target(target)
    if target.modes is None or target.weights is None:
        return {}
    share = mode_weights(samples, target.modes)
    counted = target.weights * len(samples) >= MIN_EXPECTED
    covered = counted & (share >= MIN_SHARE * target.weights)
    return {
        "modes_covered": float(covered.sum()),
        "modes": float(counted.sum()),
        "mode_weight_tv": float(0.5 * np.abs(share - target.weights).sum()),
    }


@no_type_check
def compare_with_exact(
    key: Key[Array, ""],
    target: Target,
    samples: Float[Array | np.ndarray, "N D"],
    log_normalizer: Estimate | None = None,
) -> dict[str, float]:
    """Numbers of samples [N, D]; those that end in `_exact` are what N exact samples get.

    Modes covered and total variation of their weights where the modes are known; sliced Wasserstein
    distance (data units, at most 10,000 points) where there is an exact sampler, with the mean and
    the standard deviation of it between two exact sets; error of an estimate of log Z with its
    standard error where the constant is known. Samples that are not finite are left out and their
    share is given.
    Raises ConfigError unless at least two finite samples of the target's dimension are given.
    """
    _check_target(target)
    key, given = as_key("key", key), np.asarray(as_array("samples", samples, finite=False))
    if not isinstance(log_normalizer, Estimate | None):
        raise ConfigError(f"log_normalizer={shown(log_normalizer)} must be an Estimate or None")
    if given.ndim != 2 or given.shape[1] != target.dim:
        raise ConfigError(f"samples have shape {given.shape}, allowed: [N, {target.dim}]")
    finite = np.isfinite(given).all(1)
    if finite.sum() < 2:
        raise ConfigError(f"samples hold {finite.sum()} finite points, allowed: at least 2")
    numbers = {"not_finite": float(1 - finite.mean())}
    numbers |= mode_numbers(target, given[finite])
    if target.sample is not None:
        numbers |= _against_exact(key, target, given[finite])
    if log_normalizer is not None and target.log_normalizer is not None:
        numbers["log_normalizer_error"] = log_normalizer.value - target.log_normalizer
        numbers["log_normalizer_standard_error"] = log_normalizer.error
    return numbers


def _against_exact(key, target, samples):
    key_exact, key_lines = jax.random.split(key)
    draw = jax.jit(target.sample, static_argnums=1)
    sets = [
        np.asarray(draw(jax.random.fold_in(key_exact, i), len(samples)))
        for i in range(2 * NUM_REPEATS)
    ]
    distance = lambda a, b: float(sliced_wasserstein(key_lines, a[:MAX_POINTS], b[:MAX_POINTS]))
    # The order of a chain's samples is not random: which are kept must be.
    order = np.asarray(jax.random.permutation(key_lines, len(samples)))
    between = [distance(a, b) for a, b in zip(sets[::2], sets[1::2])]
    numbers = {
        "sliced_wasserstein": float(np.mean([distance(a, samples[order]) for a in sets[::2]])),
        "sliced_wasserstein_exact": float(np.mean(between)),
        "sliced_wasserstein_exact_std": float(np.std(between, ddof=1)),
    }
    exact = mode_numbers(target, sets[0])
    if exact:
        numbers["mode_weight_tv_exact"] = exact["mode_weight_tv"]
    return numbers
