"""Fidelity and coverage by nearest-neighbour balls: precision and recall, density and coverage.

Around every point of a set stands a ball that reaches to its k-th nearest neighbour in the same
set. Identical laws do not score 1 on all of these (precision and recall of about 0.7 in 64
dimensions): print `calibrate`'s value beside them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.divergences.distances import squared_distances
from gen_jax.errors import check_range
from gen_jax.metrics.neighbours import nearest_neighbours
from gen_jax.metrics.pairwise import centred_pair, fold_pairs
from gen_jax.types import Array, Num


class PrecisionRecall(NamedTuple):
    """Both in [0, 1], larger is better."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density is >= 0 (about 1 for equal laws), coverage in [0, 1]; larger is better."""

    density: float
    coverage: float


class NeighbourScores(NamedTuple):
    """`PrecisionRecall` and `DensityCoverage` in one."""

    precision: float
    recall: float
    density: float
    coverage: float


def _sets(real, fake, **k: Any) -> tuple[np.ndarray, np.ndarray]:
    real, fake = centred_pair(real, fake, names=("real", "fake"))
    for name, value in k.items():
        check_range(name, value, 1, min(len(real), len(fake)) - 1, integer=True)
    return real, fake


def _radii(x: np.ndarray, *k: int) -> np.ndarray:
    """Squared distance of each point to its k-th nearest other points [N, len(k)]."""
    return nearest_neighbours(x, x, int(max(k)) + 1)[0][:, k]


@jax.jit
def _place(kept, x, y, radii):
    hits, nearest = kept
    squares = jnp.where(y.there, squared_distances(x.rows, y.rows), jnp.inf)
    inside = squares[..., None] <= radii
    return hits + jnp.sum(inside, 1), jnp.minimum(nearest, squares.min(1))


def _places(x: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In how many balls around the centres each row of x lies, for each column of radii [N, K],
    and its squared distance to the nearest centre [N]."""
    of = lambda y: radii[np.minimum(y.numbers, len(radii) - 1)]
    first = np.zeros(radii.shape[1], int), np.inf
    return fold_pairs(lambda kept, x, y: _place(kept, x, y, of(y)), first, x, centres)


@no_type_check
def precision_recall(
    real: Num[Array | np.ndarray, "N ..."], fake: Num[Array | np.ndarray, "M ..."], k: int = 3
) -> PrecisionRecall:
    """Improved precision and recall (kynkaanniemi2019 eq. 1-2).

    Precision is the share of fakes inside some real point's ball, recall the share of reals inside
    some fake's ball.

    Args: features real [N, D] and fake [M, D], and the neighbour k that sets the balls' radii.
    """
    r, f = _sets(real, fake, k=k)
    in_real, in_fake = _places(f, r, _radii(r, k))[0], _places(r, f, _radii(f, k))[0]
    return PrecisionRecall(float(np.mean(in_real > 0)), float(np.mean(in_fake > 0)))


@no_type_check
def density_coverage(
    real: Num[Array | np.ndarray, "N ..."], fake: Num[Array | np.ndarray, "M ..."], k: int = 5
) -> DensityCoverage:
    """Density and coverage (naeem2020 sec. 3).

    Density is the mean number of real balls that hold a fake, divided by k; coverage is the share
    of real balls that hold some fake. No balls stand around fakes, so outliers inflate neither.

    Args: features real [N, D] and fake [M, D], and the neighbour k that sets the balls' radii.
    """
    r, f = _sets(real, fake, k=k)
    radii = _radii(r, k)
    hits, nearest = _places(f, r, radii)[0], nearest_neighbours(r, f)[0][:, 0]
    return DensityCoverage(float(hits.mean() / k), float(np.mean(nearest <= radii[:, 0])))


@no_type_check
def neighbour_scores(
    real: Num[Array | np.ndarray, "N ..."],
    fake: Num[Array | np.ndarray, "M ..."],
    k: int = 3,
    density_k: int = 5,
) -> NeighbourScores:
    """`precision_recall` of k and `density_coverage` of `density_k`, from one search each way."""
    r, f = _sets(real, fake, k=k, density_k=density_k)
    of_real, of_fake = _radii(r, k, density_k), _radii(f, k, density_k)
    (in_real, _), (in_fake, nearest) = _places(f, r, of_real), _places(r, f, of_fake)
    precision, recall = (np.mean(hits[:, 0] > 0) for hits in (in_real, in_fake))
    density, coverage = in_real[:, 1].mean() / density_k, np.mean(nearest <= of_real[:, 1])
    return NeighbourScores(*map(float, (precision, recall, density, coverage)))
