"""How well a score tells two sets apart."""

from typing import Any

import numpy as np

from gen_jax.checks import as_array, no_type_check
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Estimate, Float


@no_type_check
def auroc(
    inside: Float[Array | np.ndarray, "N"], outside: Float[Array | np.ndarray, "M"]
) -> Estimate:
    """Area under the ROC curve of a score that should be higher outside, with its standard error.

    The probability that a score of `outside` exceeds one of `inside`, ties counted half
    (mann1947): 1 is perfect, 0.5 is chance, less is worse than chance. The error is delong1988's.
    Raises ConfigError unless both sets have at least two scores, none of them NaN.
    """
    x, y = _scores("inside", inside), _scores("outside", outside)
    above = 1 - _share_below(y, x)  # of outside, above each of inside
    below = _share_below(x, y)
    error = np.sqrt(above.var(ddof=1) / len(x) + below.var(ddof=1) / len(y))
    return Estimate(float(below.mean()), float(error))


def _scores(name: str, values: Any) -> np.ndarray:
    x = np.asarray(as_array(name, values, finite=False), np.float64)
    if x.ndim != 1 or len(x) < 2:
        raise ConfigError(f"{name} has shape {x.shape}; it must be [N] with N >= 2 scores")
    if np.isnan(x).any():
        raise ConfigError(f"{name}: {np.isnan(x).sum()} scores are NaN")
    return x


def _share_below(values: Float[np.ndarray, "N"], at: Float[np.ndarray, "M"]) -> np.ndarray:
    """For each of `at`, the share of values below it and half of those equal to it, [M]."""
    ordered = np.sort(values)
    ends = [np.searchsorted(ordered, at, side) for side in ("left", "right")]
    return (ends[0] + ends[1]) / (2 * len(values))
