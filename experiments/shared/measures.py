"""What `evaluate` measures of every run: its samples beside real sets, its log-likelihood."""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.shared.known_densities import MIXTURES, target_of
from experiments.shared.likelihoods import (
    in_batches,
    log_prob,
    settled,
)
from experiments.shared.pictures import balanced_labels
from experiments.shared.registry import Saved, find
from experiments.shared.set_measures import (
    RESAMPLES,
    compare_features,
    compare_moments,
    compare_with_training,
    inception_scores,
)
from experiments.shared.text_measures import compare_texts, training_text
from gen_jax import data, diffusion, metrics
from gen_jax.errors import ConfigError, DataError
from gen_jax.metrics import compare_with_exact
from gen_jax.training.console import phase
from gen_jax.types import Estimate

MIN_EXAMPLES = 10
MOST_HELDOUT = 1000
"""Held-out examples beside fewer samples, whose nearest neighbours calibrate novelty."""


def load_both(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Training and test set in random order, so that the first of them are a sample of all.

    Raises DataError when they are too small to measure a run.
    """
    train, test = (data.examples(name, split) for split in ("train", "test"))
    if min(len(train["x"]), len(test["x"])) < MIN_EXAMPLES:
        raise DataError(
            f"dataset {name!r} has {len(train['x'])} training and {len(test['x'])} test "
            f"examples; {MIN_EXAMPLES} of each are needed to measure a run"
        )
    return train, test


def evaluate_samples(
    saved: Saved,
    samples: np.ndarray,
    train: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
    picture: Path | None = None,
    brief: bool = False,
) -> dict[str, Any]:
    """Distances, in feature space for images, coverage and novelty of samples; label accuracy and
    inception score of images, modes of points.

    All sets have as many rows as the smallest, `num_compared`; labels and modes are those of all
    samples. `brief` leaves of images the Frechet distance and the label accuracy, of points the
    transport distance and the modes.
    """
    phase(f"measures of {len(samples)} samples")
    images = saved.spec.kind == "images"
    features = _extractor(saved.spec.name) if images else None
    n = min(len(samples), len(test["x"]), len(train["x"]))
    rows = (test["x"][:n], samples[:n], train["x"][:n])
    real, fake, other = map(features.features, rows) if features else rows
    result: dict[str, Any] = {"features": features.label} if features else _transport(*rows)
    result["num_compared"] = n
    if not brief:
        result |= compare_features(real, fake, other, picture)
        heldout = test["x"][: max(n, MOST_HELDOUT)]
        result |= compare_with_training(samples[:n], train["x"], heldout)
    elif features:
        result |= compare_moments(real, fake, other)
    if isinstance(features, metrics.ClassifierFeatures):
        if not brief:
            result |= inception_scores(features, samples[:n], test["x"][:n])
        return result | _label_accuracy(saved, samples, features)
    return result | ({} if images else _modes(saved.spec.name, samples))


def _extractor(name: str) -> metrics.ClassifierFeatures | metrics.PixelFeatures:
    """The set's classifier, or pixels where it has none."""
    try:
        return metrics.load_classifier(name)
    except ConfigError:
        return metrics.FEATURES["pixels"](name)


def _label_accuracy(
    saved: Saved, samples: np.ndarray, classifier: metrics.ClassifierFeatures
) -> dict[str, Any]:
    labels = balanced_labels(saved.model, saved.spec, len(samples))
    if labels is None:
        return {}
    right = (classifier.predict(samples) == np.asarray(labels)).astype(float)
    return {"label_accuracy": metrics.mean_and_error(right)}


def _transport(real: np.ndarray, fake: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """The transport distance of points, and that of two real sets."""
    key = jax.random.key(0)
    options: dict[str, Any] = {"num_resamples": RESAMPLES, "replace": False}
    distance = lambda a, b: float(metrics.sliced_wasserstein(key, a, b))
    return {
        "sliced_wasserstein": metrics.bootstrap(key, distance, real, fake, **options),
        "sliced_wasserstein_real_train_test": distance(real, other),
    }


def _modes(name: str, samples: np.ndarray) -> dict[str, Any]:
    """Modes of points where the set is a known mixture."""
    if name not in MIXTURES:
        return {}
    weights, means, covariances = (np.asarray(a) for a in MIXTURES[name]())
    std = float(np.sqrt(covariances[0, 0, 0]))
    return metrics.mode_report(samples, means, std, weights)._asdict()


def evaluate_target(saved: Saved, samples: np.ndarray, seed: int) -> dict[str, Any]:
    """Samples of a known density beside exact ones, and what the experiment itself measures."""
    phase(f"measures of {len(samples)} samples beside exact ones")
    target, key = target_of(saved.spec.name), jax.random.key(seed)
    numbers: dict[str, Any] = compare_with_exact(key, target, samples)
    measure = find(saved.name).measure_target
    return numbers | (measure(key, saved, target, len(samples)) if measure else {})


def _needs_condition(saved: Saved) -> bool:
    """Whether this is a diffusion model without a density of its own for hidden conditions."""
    if not isinstance(saved.model.parts, diffusion.Parts):
        return False
    options = saved.model.parts.options
    return options.condition is not None and options.condition_dropout == 0


def likelihoods(
    saved: Saved, test: dict[str, np.ndarray], num: int, **options: Any
) -> dict[str, Any]:
    """log p in nats and bits/dim of test examples by the model's own `log_prob`.

    Beside the error over examples stand those of the estimate: its steps, its draws. None of a
    diffusion model that was trained with its condition in every example.
    """
    if num == 0 or saved.model.log_prob is None or _needs_condition(saved):
        return {}
    x = test["x"][:num]
    phase("options of the likelihood, on few examples")
    options, result = settled(saved, x, options.pop("likelihood_steps", None), **options)
    phase(f"likelihood of {len(x)} examples")
    nats = log_prob(saved, x, **options)
    bits = lambda nats: metrics.mean_and_error(
        np.asarray(metrics.bits_per_dim(nats, int(np.prod(saved.spec.shape))))
    )
    bound = find(saved.name).bound
    if bound is not None and saved.spec.kind == "images":
        below = jax.jit(lambda key, state, x: bound(key, saved.model, state, x))
        lower = in_batches(lambda key, x: below(key, saved.state, x), x)
        result["bits_per_dim_bound"] = bits(lower)
    return {
        **result,
        "likelihood_examples": len(x),
        "log_prob_kind": saved.model.log_prob_kind,
        "log_prob_nats": metrics.mean_and_error(nats),
        "bits_per_dim": bits(nats),
    }


def evaluate_text(
    saved: Saved, samples: np.ndarray, test: dict[str, np.ndarray], num: int
) -> dict[str, Any]:
    """Samples beside test windows, and the perplexity per token and per character of `num` test
    windows without context before them."""
    if data.describe(saved.spec.name).vocabulary != saved.spec.vocabulary:
        raise DataError(f"text {saved.spec.name!r} has changed: its vocabulary is not the run's")
    vocabulary = data.Vocabulary.from_json(saved.spec.vocabulary)
    phase(f"measures of {len(samples)} texts")
    result = compare_texts(samples, test["x"], training_text(saved.spec.name), vocabulary)
    found = likelihoods(saved, test, num)
    if not found:
        return result
    x = test["x"][:num]
    length = sum(len(vocabulary.decode(row)) for row in x) / len(x)
    nats = found["log_prob_nats"]
    for unit, number in (("token", x.shape[1]), ("character", length)):
        value = math.exp(-nats.value / number)
        found[f"perplexity_per_{unit}"] = Estimate(value, value * nats.error / number)
    return {**result, **found, "bits_per_character": -nats.value / (length * math.log(2))}


def has_labels(saved: Saved) -> bool:
    """Whether the run draws images of given labels."""
    return saved.spec.kind == "images" and balanced_labels(saved.model, saved.spec, 1) is not None


def evaluate_downstream(
    saved: Saved,
    samples: np.ndarray,
    train: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
    steps: int,
) -> dict[str, Any]:
    """A classifier trained on samples with their labels, beside one trained on real images."""
    phase(f"classifiers trained on samples and on real images, {steps} steps each")
    labels = np.asarray(balanced_labels(saved.model, saved.spec, len(samples)))
    found = metrics.downstream_accuracy(
        jax.random.key(0),
        samples,
        labels,
        train["x"],
        train["y"],
        test["x"],
        test["y"],
        saved.spec.num_classes,
        steps,
    )
    accuracy = {f"downstream_accuracy_{name}": value for name, value in found._asdict().items()}
    return {"downstream_steps": steps, **accuracy}


def evaluate_data(
    saved: Saved,
    samples: np.ndarray,
    train: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
    num: int,
    **options: int,
) -> dict[str, Any]:
    """Samples beside data, log p of `num` test examples, and what the experiment itself measures.

    `options` are those of `log_prob`.
    """
    if saved.spec.kind == "text":
        return evaluate_text(saved, samples, test, num)
    picture = saved.directory / "precision_recall.png"
    measured = evaluate_samples(saved, samples, train, test, picture)
    measured |= likelihoods(saved, test, num, **options)
    more = find(saved.name).measure_test
    if more:
        phase(f"measures of {saved.name!r} runs alone")
    return measured | (more(saved, test, num) if more else {})


def show(report: dict[str, Any]) -> None:
    """One line for each number."""
    width = max(map(len, report))
    for name, value in report.items():
        parts = value if isinstance(value, list) else [value]
        shown = [f"{part:.4g}" if isinstance(part, float) else str(part) for part in parts]
        print(f"{name:{width}s}  {', '.join(shown)}")
