"""What `evaluate` measures of every run: its samples beside real sets, its log-likelihood."""

import math
from typing import Any

import jax
import numpy as np

from experiments.shared.known_densities import MIXTURES, target_of
from experiments.shared.likelihoods import in_batches, log_prob
from experiments.shared.pictures import balanced_labels
from experiments.shared.registry import Saved, find
from gen_jax import data, metrics
from gen_jax.errors import ConfigError, DataError
from gen_jax.metrics import compare_with_exact
from gen_jax.types import Estimate

RESAMPLES, FEWEST = 20, 12
"""Of an error; and the rows that it needs."""


def neighbour_scores(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """The statistics that compare pairs of rows of features [N, D]."""
    return {
        "kernel": metrics.kernel_distance(real, fake),
        **metrics.precision_recall(real, fake)._asdict(),
        **metrics.density_coverage(real, fake)._asdict(),
    }


def compare_features(real: np.ndarray, fake: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Distances of real features [N, D] to `fake`, with errors, and to `other` real ones.

    The error of a share is at least 1 / N, the weight of one example: where all halves agree, as
    where nothing is covered, resampling shows none. Below FEWEST rows there are no errors but the
    first, because half of the rows are too few neighbours.
    """
    key, frechet = jax.random.key(0), metrics.frechet_from_features
    report: dict[str, Any] = {
        "frechet": metrics.bootstrap(key, frechet, real, fake, num_resamples=RESAMPLES),
        "frechet_real_train_test": frechet(real, other),
    }
    values = lambda *sets: [*neighbour_scores(*sets).values()]
    options: dict[str, Any] = {"num_resamples": RESAMPLES, "replace": False}
    enough = len(real) >= FEWEST
    found = metrics.bootstrap(key, values, real, fake, **options) if enough else None
    scores = values(real, fake) if found is None else found.value.tolist()
    for i, (name, calibration) in enumerate(neighbour_scores(real, other).items()):
        report[name] = scores[i]
        if found is not None:
            least = 0.0 if name == "kernel" else 1 / len(real)
            report[name] = Estimate(scores[i], max(float(found.error[i]), least))
        report[f"{name}_real_train_test"] = calibration
    return report


def evaluate_images(
    saved: Saved, samples: np.ndarray, train: dict[str, np.ndarray], test: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Distances in feature space, coverage, label accuracy and novelty of images."""
    extractor: metrics.ClassifierFeatures | metrics.PixelFeatures
    try:
        extractor = metrics.load_classifier(saved.spec.name)
    except ConfigError:
        extractor = metrics.FEATURES["pixels"](saved.spec.name)
    n = min(len(samples), len(test["x"]), len(train["x"]))
    real, fake = extractor.features(test["x"][:n]), extractor.features(samples[:n])
    other = extractor.features(train["x"][:n])
    result: dict[str, Any] = {
        "features": extractor.label,
        **compare_features(real, fake, other),
        "memorisation_ratio": metrics.memorisation_ratio(samples[:n], train["x"], test["x"]),
    }
    labels = balanced_labels(saved.model, saved.spec, len(samples))
    if labels is not None and isinstance(extractor, metrics.ClassifierFeatures):
        right = (extractor.predict(samples) == np.asarray(labels)).astype(float)
        result["label_accuracy"] = metrics.mean_and_error(right)
    return result


def evaluate_points(
    saved: Saved, samples: np.ndarray, train: dict[str, np.ndarray], test: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Transport distance and, for a known mixture, its modes."""
    key, n = jax.random.key(0), min(len(samples), len(test["x"]), len(train["x"]))
    distance = lambda a, b: float(metrics.sliced_wasserstein(key, a, b))
    result: dict[str, Any] = {
        "sliced_wasserstein": distance(test["x"][:n], samples[:n]),
        "sliced_wasserstein_real_train_test": distance(test["x"][:n], train["x"][:n]),
    }
    if saved.spec.name in MIXTURES:
        weights, means, covariances = (np.asarray(a) for a in MIXTURES[saved.spec.name]())
        std = float(np.sqrt(covariances[0, 0, 0]))
        result |= metrics.mode_report(samples, means, std, weights)._asdict()
    return result


def evaluate_target(saved: Saved, samples: np.ndarray, seed: int) -> dict[str, Any]:
    """Samples of a known density beside exact ones, and what the experiment itself measures."""
    target, key = target_of(saved.spec.name), jax.random.key(seed)
    numbers: dict[str, Any] = compare_with_exact(key, target, samples)
    measure = find(saved.name).measure_target
    return numbers | (measure(key, saved, target, len(samples)) if measure else {})


def likelihoods(
    saved: Saved, test: dict[str, np.ndarray], num: int, **options: int
) -> dict[str, Any]:
    """log p in nats and bits/dim of test examples by the model's own `log_prob`."""
    if num == 0 or saved.model.log_prob is None:
        return {}
    result: dict[str, Any] = {}
    x = test["x"][:num]
    nats = log_prob(saved, x, **options)
    bits = lambda nats: metrics.mean_and_error(
        np.asarray(metrics.bits_per_dim(nats, int(np.prod(saved.spec.shape))))
    )
    bound = find(saved.name).bound
    if bound is not None and saved.spec.kind == "images":
        below = jax.jit(lambda key, state, x: bound(key, saved.model, state, x))
        lower = in_batches(lambda key, x: below(key, saved.state, x), x)
        result = {"bits_per_dim_bound": bits(lower)}
    return {
        **result,
        "likelihood_examples": len(x),
        "log_prob_kind": saved.model.log_prob_kind,
        "log_prob_nats": metrics.mean_and_error(nats),
        "bits_per_dim": bits(nats),
    }


def evaluate_text(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Perplexity per token and per character of windows without context before them."""
    if data.describe(saved.spec.name).vocabulary != saved.spec.vocabulary:
        raise DataError(f"text {saved.spec.name!r} has changed: its vocabulary is not the run's")
    result = likelihoods(saved, test, num)
    if not result:
        return {}
    x = test["x"][:num]
    vocabulary = data.Vocabulary.from_json(saved.spec.vocabulary)
    length = sum(len(vocabulary.decode(row)) for row in x) / len(x)
    nats = result["log_prob_nats"]
    for unit, number in (("token", x.shape[1]), ("character", length)):
        value = math.exp(-nats.value / number)
        result[f"perplexity_per_{unit}"] = Estimate(value, value * nats.error / number)
    return {**result, "bits_per_character": -nats.value / (length * math.log(2))}


def evaluate_data(
    saved: Saved,
    samples: np.ndarray,
    train: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
    num: int,
    **options: int,
) -> dict[str, Any]:
    """Samples beside data, log p of `num` test examples, and what the experiment itself measures.

    `options` are those of `log_prob`. A model of text is measured by its likelihood alone.
    """
    if saved.spec.kind == "text":
        return evaluate_text(saved, test, num)
    measure = evaluate_images if saved.spec.kind == "images" else evaluate_points
    measured = measure(saved, samples, train, test) | likelihoods(saved, test, num, **options)
    more = find(saved.name).measure_test
    return measured | (more(saved, test, num) if more else {})
