"""Fidelity and coverage by nearest-neighbour balls: precision and recall, density and coverage.

Around every point of a set stands a ball that reaches to its k-th nearest neighbour in the same
set. Identical laws do not score 1 on all of these (precision and recall of about 0.7 in 64
dimensions): print `calibrate`'s value beside them.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.divergences.distances import squared_distances
from gen_jax.errors import check_range
from gen_jax.metrics.neighbours import nearest_neighbours
from gen_jax.metrics.pairwise import centred_pair, map_rows
from gen_jax.types import Array, Num


class PrecisionRecall(NamedTuple):
    """Both in [0, 1], larger is better."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density is >= 0 (about 1 for equal laws), coverage in [0, 1]; larger is better."""

    density: float
    coverage: float


def _balls_hit(x, centres, radii):
    return jnp.sum(squared_distances(x, centres) <= radii[:, 0], 1)


def _sets(real, fake, k: Any) -> tuple[np.ndarray, np.ndarray]:
    real, fake = centred_pair(real, fake, names=("real", "fake"))
    check_range("k", k, 1, min(len(real), len(fake)) - 1, integer=True)
    return real, fake


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Squared distance [N] of each point to its k-th nearest other point."""
    return nearest_neighbours(x, x, int(k) + 1)[0][:, -1]


def _hits(x: np.ndarray, centres: np.ndarray, k: int) -> np.ndarray:
    """In how many of the balls around `centres` each row of x lies."""
    return map_rows(_balls_hit, x, centres, _radii(centres, k)[:, None])


@no_type_check
def precision_recall(
    real: Num[Array | np.ndarray, "N ..."], fake: Num[Array | np.ndarray, "M ..."], k: int = 3
) -> PrecisionRecall:
    """Improved precision and recall (kynkaanniemi2019 eq. 1-2).

    Precision is the share of fakes inside some real point's ball, recall the share of reals inside
    some fake's ball.

    Args: features real [N, D] and fake [M, D], and the neighbour k that sets the balls' radii.
    """
    r, f = _sets(real, fake, k)
    precision, recall = np.mean(_hits(f, r, k) > 0), np.mean(_hits(r, f, k) > 0)
    return PrecisionRecall(float(precision), float(recall))


@no_type_check
def density_coverage(
    real: Num[Array | np.ndarray, "N ..."], fake: Num[Array | np.ndarray, "M ..."], k: int = 5
) -> DensityCoverage:
    """Density and coverage (naeem2020 sec. 3).

    Density is the mean number of real balls that hold a fake, divided by k; coverage is the share
    of real balls that hold some fake. No balls stand around fakes, so outliers inflate neither.

    Args: features real [N, D] and fake [M, D], and the neighbour k that sets the balls' radii.
    """
    r, f = _sets(real, fake, k)
    radii = _radii(r, k)
    hits = map_rows(_balls_hit, f, r, radii[:, None])
    covered = nearest_neighbours(r, f)[0][:, 0] <= radii
    return DensityCoverage(float(hits.mean() / k), float(np.mean(covered)))
