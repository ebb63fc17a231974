"""How well a score tells two sets apart."""

import numpy as np

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Estimate, Float


def auroc(
    inside: Float[Array | np.ndarray, "N"], outside: Float[Array | np.ndarray, "M"]
) -> Estimate:
    """Area under the ROC curve of a score that should be higher outside, with its standard error.

    The probability that a score of `outside` exceeds one of `inside`, ties counted half
    (mann1947): 1 is perfect, 0.5 is chance, less is worse than chance. The error is delong1988's.
    Raises ConfigError unless both sets have at least two scores, none of them NaN.
    """
    x, y = np.asarray(inside, np.float64), np.asarray(outside, np.float64)
    if min(len(x), len(y)) < 2:
        raise ConfigError(f"inside has {len(x)} scores, outside {len(y)} (at least 2 are needed)")
    if np.isnan(x).any() or np.isnan(y).any():
        raise ConfigError(f"{np.isnan(x).sum() + np.isnan(y).sum()} scores are NaN")
    above = 1 - _share_below(y, x)  # of outside, above each of inside
    below = _share_below(x, y)
    error = np.sqrt(above.var(ddof=1) / len(x) + below.var(ddof=1) / len(y))
    return Estimate(float(below.mean()), float(error))


def _share_below(values: Float[np.ndarray, "N"], at: Float[np.ndarray, "M"]) -> np.ndarray:
    """For each of `at`, the share of values below it and half of those equal to it, [M]."""
    ordered = np.sort(values)
    ends = [np.searchsorted(ordered, at, side) for side in ("left", "right")]
    return (ends[0] + ends[1]) / (2 * len(values))
