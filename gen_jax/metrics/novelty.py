"""Are samples new, or copies of the training set?"""

import numpy as np

from gen_jax.checks import as_array, no_type_check
from gen_jax.errors import ConfigError
from gen_jax.metrics.pairwise import centred_pair, map_rows
from gen_jax.metrics.precision_recall import nearest
from gen_jax.types import Array, Float, Num


def _unit(x: Num[Array | np.ndarray, "..."]) -> np.ndarray:
    x = np.asarray(x)
    return x / 255.0 if x.dtype == np.uint8 else x


@no_type_check
def nearest_neighbour_distances(
    samples: Num[Array | np.ndarray, "N ..."], training: Num[Array | np.ndarray, "M ..."]
) -> Float[np.ndarray, "N"]:
    """Squared Euclidean distance [N] of each sample to its nearest training example.

    uint8 images are scaled to [0, 1]; floats are taken as they are, so both sets must have the same
    units.
    """
    names = "samples", "training"
    a, b = (_unit(as_array(*pair)) for pair in zip(names, (samples, training)))
    return map_rows(nearest, *centred_pair(a, b, 1, names))


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
    heldout = as_array("heldout", heldout)
    usual = np.median(nearest_neighbour_distances(heldout, training))
    if usual == 0:
        raise ConfigError(
            "at least half of heldout also lies in training; the ratio needs new data"
        )
    return float(np.median(nearest_neighbour_distances(samples, training)) / usual)
