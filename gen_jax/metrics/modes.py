"""Does a sampler find the modes of a known mixture, with the right weights?"""

from typing import NamedTuple

import numpy as np

from gen_jax.checks import as_numbers, no_type_check
from gen_jax.errors import ConfigError, check_range
from gen_jax.metrics.pairwise import as_pair
from gen_jax.types import Array, Float, Num


class ModeReport(NamedTuple):
    """How samples sit on the modes of a known mixture.

    Fields:
      covered, num_modes: modes that received enough good samples, of how many.
      total_variation: half the sum of |sample share - true weight|, in [0, 1]; exact
        samples have about 0.4 sqrt(K / N).
      high_quality: share of samples within `num_stds` standard deviations of a mean.
    """

    covered: int
    num_modes: int
    total_variation: float
    high_quality: float


def _nearest(samples, means) -> tuple[np.ndarray, np.ndarray]:
    """The nearest mean of each sample and the distance to it."""
    samples, means = as_pair(samples, means, 1, ("samples", "means"))
    squares = ((samples[:, None] - means[None]) ** 2).sum(-1)
    return squares.argmin(1), np.sqrt(squares.min(1))


@no_type_check
def mode_weights(
    samples: Num[Array | np.ndarray, "N D"], means: Num[Array | np.ndarray, "K D"]
) -> Float[np.ndarray, "K"]:
    """The share of samples [N, D] nearest to each of the means [K, D]."""
    nearest, _ = _nearest(samples, means)
    return np.bincount(nearest, minlength=len(means)) / len(nearest)


@no_type_check
def mode_report(
    samples: Num[Array | np.ndarray, "N D"],
    means: Num[Array | np.ndarray, "K D"],
    std: float,
    weights: Float[Array | np.ndarray, "K"] | None = None,
    num_stds: float = 3.0,
    min_share: float = 0.2,
) -> ModeReport:
    """Modes covered, error of the mode weights and share of good samples.

    Args:
      samples, means: [N, D] and [K, D].
      std: standard deviation of every mode along each axis, in data units.
      weights: true weights [K], uniform by default; a mean of weight 0 is no mode.
      num_stds: a sample is good within this many std of its nearest mean; in 2-D an exact sampler
        has 1 - exp(-num_stds^2 / 2) of them, 0.989 at 3.
      min_share: a mode is covered when its good samples are at least this share of those expected
        (weight N).
    """
    check_range("std", std, 0, open_low=True)
    check_range("num_stds", num_stds, 0, open_low=True)
    check_range("min_share", min_share, 0, 1, open_low=True)
    nearest, distance = _nearest(samples, means)
    k = len(means)
    weights = np.full(k, 1 / k) if weights is None else as_numbers("weights", weights)
    if len(weights) != k:
        raise ConfigError(f"weights has {len(weights)} entries, means {k}")
    if (weights < 0).any() or not np.isclose(weights.sum(), 1, atol=1e-4):
        raise ConfigError(f"weights sum to {weights.sum():.4g}; they must be >= 0 and sum to 1")
    good = distance <= num_stds * std
    share = np.bincount(nearest, minlength=k) / len(nearest)
    good_share = np.bincount(nearest[good], minlength=k) / len(nearest)
    modes = weights > 0
    covered = np.sum(modes & (good_share > 0) & (good_share >= min_share * weights))
    variation = 0.5 * np.abs(share - weights).sum()
    return ModeReport(int(covered), int(modes.sum()), float(variation), float(good.mean()))
