"""Are samples new, or copies of the training set?"""

from typing import NamedTuple

import jax
import numpy as np

from gen_jax.checks import no_type_check, on_host
from gen_jax.errors import ConfigError
from gen_jax.metrics.neighbours import nearest_neighbours
from gen_jax.metrics.pairwise import as_pair, as_points, centred_pair
from gen_jax.metrics.resampling import bootstrap
from gen_jax.types import Array, Estimate, Float, Num


class NoveltyReport(NamedTuple):
    """What the nearest training examples say of samples.

    Fields:
      memorisation_ratio: as `memorisation_ratio`, with its bootstrap error; NaN where at least half
        of the held-out data, or for the error of a resample of them, also lie in the training set.
      authenticity: share of samples as `authenticity`.
      heldout_authenticity: that of held-out data, which no model has seen.
    """

    memorisation_ratio: Estimate
    authenticity: Estimate
    heldout_authenticity: Estimate


@no_type_check
def _unit(name: str, x: Num[Array | np.ndarray, "..."]) -> np.ndarray:
    x = on_host(name, x, finite=False)
    return x / 255.0 if x.dtype == np.uint8 else x


def _pair(samples, training, minimum: int, name: str = "samples"):
    names = name, "training"
    a, b = (_unit(*pair) for pair in zip(names, (samples, training)))
    return centred_pair(a, b, minimum, names)


@no_type_check
def nearest_neighbour_distances(
    samples: Num[Array | np.ndarray, "N ..."], training: Num[Array | np.ndarray, "M ..."]
) -> Float[np.ndarray, "N"]:
    """Squared Euclidean distance [N] of each sample to its nearest training example.

    uint8 images are scaled to [0, 1]; floats are taken as they are, so both sets must have the same
    units.
    """
    return nearest_neighbours(*_pair(samples, training, 1))[0][:, 0]


def _near_and_new(training, **sets) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each set, by one search, the squared distances [N] to the nearest training example, and
    whether each is not the closest to that example, [N]."""
    b = as_points("training", _unit("training", training), 1)
    if len(b) < 2:
        raise ConfigError("training has 1 example, allowed: at least 2, which have neighbours")
    points = [as_pair(_unit(n, x), b, 1, (n, "training"))[0] for n, x in sets.items()]
    a, b = centred_pair(np.concatenate(points), b, 1)
    squares, rows = nearest_neighbours(a, b, 2)  # 2 as below, so that one program serves both
    used, place = np.unique(rows[:, 0], return_inverse=True)
    radius = nearest_neighbours(b[used], b, 2)[0][:, 1]
    found = squares[:, 0], squares[:, 0] > radius[place]
    ends = np.cumsum([len(x) for x in points])[:-1]
    return list(zip(*(np.split(of_all, ends) for of_all in found)))


def _share(flags: np.ndarray) -> Estimate:
    """A share with its binomial standard error."""
    share = float(np.mean(flags))
    return Estimate(share, float(np.sqrt(share * (1 - share) / len(flags))))


@no_type_check
def authenticity(
    samples: Num[Array | np.ndarray, "N ..."], training: Num[Array | np.ndarray, "M ..."]
) -> Estimate:
    """Share of samples that are no near copies, with its binomial error (alaa2022 sec. 3.3).

    A sample is authentic when its nearest training example lies closer to another training example
    than to it. Copies score 0; new data of the same law score what held-out data do, about a half,
    or more where the training set is clustered. Units are as in `nearest_neighbour_distances`.
    Raises ConfigError for a training set of one example.
    """
    return _share(_near_and_new(training, samples=samples)[0][1])


def _ratio(of_samples: np.ndarray, of_heldout: np.ndarray) -> float:
    """Of medians; NaN where at least half of the held-out data also lie in the training set."""
    usual = np.median(of_heldout) if np.mean(of_heldout == 0) < 0.5 else np.nan
    return float(np.median(of_samples) / usual)


@no_type_check
def memorisation_ratio(
    samples: Num[Array | np.ndarray, "N ..."],
    training: Num[Array | np.ndarray, "M ..."],
    heldout: Num[Array | np.ndarray, "L ..."],
) -> float:
    """Median nearest-training squared distance of samples, divided by that of held-out data.

    About 1 for a model that has learnt the law, towards 0 for one that copies; above 1 samples lie
    off the data.
    """
    of_heldout = nearest_neighbours(*_pair(heldout, training, 1, "heldout"))[0][:, 0]
    ratio = _ratio(nearest_neighbour_distances(samples, training), of_heldout)
    if np.isnan(ratio):
        raise ConfigError(
            "at least half of heldout also lies in training; the ratio needs new data"
        )
    return ratio


@no_type_check
def novelty_report(
    samples: Num[Array | np.ndarray, "N ..."],
    training: Num[Array | np.ndarray, "M ..."],
    heldout: Num[Array | np.ndarray, "L ..."],
) -> NoveltyReport:
    """`memorisation_ratio` and `authenticity` with errors, from one search for neighbours.

    Args: at least four samples, training examples and held-out examples, in the same units.
    """
    (distance, new), (usual, usual_new) = _near_and_new(training, samples=samples, heldout=heldout)
    ratio = bootstrap(jax.random.key(0), _ratio, distance, usual)
    return NoveltyReport(ratio, _share(new), _share(usual_new))
