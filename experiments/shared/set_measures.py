"""Two sets of features beside each other: every statistic with its error, and between real sets."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from gen_jax import metrics, plotting
from gen_jax.metrics.kernel import BANDWIDTHS
from gen_jax.types import Estimate

RESAMPLES, FEWEST, MOST = 20, 12, 2000
"""Of an error; the rows that it needs, and the most that are resampled where pairs are compared."""


def pair_scores(real: np.ndarray, fake: np.ndarray, scale: float) -> dict[str, float]:
    """The statistics that compare pairs of rows of features [N, D].

    `scale` is that of the kernels of `mmd`, left out where it is 0.
    """
    widths = [scale * factor for factor in BANDWIDTHS]
    return {
        "kernel": metrics.kernel_distance(real, fake),
        **({"mmd": metrics.mmd(real, fake, bandwidths=widths)} if scale else {}),
        "energy": metrics.energy_distance(real, fake),
        **metrics.neighbour_scores(real, fake)._asdict(),
    }


UNBIASED = ("kernel", "mmd", "energy")
"""Those that are no shares."""


def compare_pairs(real: np.ndarray, fake: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """`pair_scores` with errors, which halves of the rows give, and between real sets.

    Of many rows the first MOST are halved, and their error is scaled as 1 / sqrt(N). That of a
    share is at least 1 / N, the weight of one example: where all halves agree, as where nothing is
    covered, resampling shows none. Below FEWEST rows there are no errors, because half of the rows
    are too few neighbours.
    """
    scale = float(np.sqrt(2 * real.astype(np.float64).var(0, ddof=1).sum()))
    values = lambda a, b: [*pair_scores(a, b, scale).values()]
    options: dict[str, Any] = {"num_resamples": RESAMPLES, "replace": False}
    rows = min(len(real), MOST)
    found = None
    if rows >= FEWEST:
        found = metrics.bootstrap(jax.random.key(0), values, real[:rows], fake[:rows], **options)
    whole = found if rows == len(real) else None
    scores = values(real, fake) if whole is None else whole.value.tolist()
    report: dict[str, Any] = {}
    for i, (name, calibration) in enumerate(pair_scores(real, other, scale).items()):
        report[name] = scores[i]
        if found is not None:
            least = 0.0 if name in UNBIASED else 1 / len(real)
            error = float(found.error[i]) * np.sqrt(rows / len(real))
            report[name] = Estimate(scores[i], max(error, least))
        report[f"{name}_real_train_test"] = calibration
    return report


def compare_by_classifier(real: np.ndarray, fake: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """The classifier two-sample test, with its interval and p-value, and between real sets."""
    key = jax.random.key(0)
    test, usual = (metrics.classifier_two_sample(key, real, rows) for rows in (fake, other))
    return {
        "two_sample_accuracy": _at_least(test.accuracy, len(real)),
        "two_sample_interval": [test.low, test.high],
        "two_sample_p_value": test.p_value,
        "two_sample_accuracy_real_train_test": usual.accuracy.value,
        "two_sample_p_value_real_train_test": usual.p_value,
    }


def compare_curves(
    real: np.ndarray, fake: np.ndarray, other: np.ndarray, picture: Path | None = None
) -> dict[str, Any]:
    """Both ends of the precision-recall curve, and between real sets; draws both curves."""
    key = jax.random.key(0)
    curve, usual = (metrics.precision_recall_curve(key, real, rows) for rows in (fake, other))
    if picture is not None:
        named = {"samples": curve, "real, train and test": usual}
        drawn = {name: (c.recall, c.precision) for name, c in named.items()}
        plotting.save(plotting.precision_recall_curves(drawn), picture)
    return {
        "f_8": _at_least(curve.f_8, len(real)),
        "f_8_real_train_test": usual.f_8.value,
        "f_1_8": _at_least(curve.f_1_8, len(real)),
        "f_1_8_real_train_test": usual.f_1_8.value,
    }


def compare_moments(real: np.ndarray, fake: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """The Frechet distance, and between real sets."""
    key, frechet = jax.random.key(0), metrics.frechet_from_features
    return {
        "frechet": metrics.bootstrap(key, frechet, real, fake, num_resamples=RESAMPLES),
        "frechet_real_train_test": frechet(real, other),
    }


def compare_features(
    real: np.ndarray, fake: np.ndarray, other: np.ndarray, picture: Path | None = None
) -> dict[str, Any]:
    """Distances of real features [N, D] to `fake`, with errors, and to `other` real ones."""
    return {
        **compare_moments(real, fake, other),
        **compare_pairs(real, fake, other),
        **compare_by_classifier(real, fake, other),
        **compare_curves(real, fake, other, picture),
    }


def compare_with_training(
    samples: np.ndarray, training: np.ndarray, heldout: np.ndarray
) -> dict[str, Any]:
    """Are samples copies? The ratio is 1, by its definition, for held-out data; it is left out, and
    that is said, where half of these lie in the training set too."""
    found = metrics.novelty_report(samples, training, heldout)
    ratio: dict[str, Any] = {"memorisation_ratio": found.memorisation_ratio}
    if np.isnan(found.memorisation_ratio.value):
        ratio = {"memorisation_ratio_left_out": "half of the test set is in the training set"}
    return {
        **ratio,
        "authenticity": _at_least(found.authenticity, len(samples)),
        "authenticity_real_train_test": found.heldout_authenticity.value,
    }


def inception_scores(classifier: Any, samples: np.ndarray, real: np.ndarray) -> dict[str, Any]:
    """Of the probabilities that the project's own classifier gives."""
    p, of_real = (classifier.probabilities(images) for images in (samples, real))
    return {
        "inception_score": metrics.bootstrap(jax.random.key(0), metrics.inception_score, p),
        "inception_score_real": metrics.inception_score(of_real),
    }


def _at_least(found: Estimate, n: int) -> Estimate:
    """An error of at least 1 / n, the weight of one example."""
    return Estimate(found.value, max(found.error, 1 / n))
