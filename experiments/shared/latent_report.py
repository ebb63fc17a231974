"""Numbers and pictures of decoded samples of a latent density."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.shared.latent_samplers import REFINED, Drawn
from gen_jax import metrics, plotting
from gen_jax.errors import ConfigError
from gen_jax.metrics import compare_with_exact
from gen_jax.sampling import Target, importance
from gen_jax.types import Array, Estimate, Key, UInt8

SHOWN = 20
"""Decoded images of each sampler in the picture."""

COLUMNS = (
    *("sliced_wasserstein", "sliced_wasserstein_exact", "log_normalizer_error"),
    *("log_normalizer_standard_error", "effective_sample_size", "pareto_k", "frechet"),
    *("class_tv", "seconds"),
)
"""Numbers of the report that are printed."""


def numbers_of(key: Key[Array, ""], target: Target, drawn: Drawn) -> dict[str, float]:
    """Distance from exact samples; of a flow also log Z, the draws' effective number and tail."""
    found = {"seconds": drawn.seconds}
    log_z = None
    if drawn.log_weights is not None:
        log_z = Estimate(*map(float, importance.log_normalizer(drawn.log_weights)))
        size = importance.effective_sample_size(drawn.log_weights)
        found["effective_sample_size"] = float(size)
        found["pareto_k"] = float(importance.pareto_k(drawn.log_weights))
    return found | compare_with_exact(key, target, drawn.samples, log_z)


def judge_of(name: str, real: UInt8[np.ndarray, "N H W C"]) -> Callable[[np.ndarray], dict]:
    """Distances of images from `real`: of Frechet, and in total variation of the classes found.

    By the dataset's classifier, or by pixels, where there is none; pixels have no classes.
    """
    try:
        extractor: Any = metrics.load_classifier(name)
    except ConfigError:
        extractor = metrics.FEATURES["pixels"](name)
    features = extractor.features(real)

    def shares(images):
        logits = extractor.logits(images)
        return np.bincount(logits.argmax(1), minlength=logits.shape[1]) / len(images)

    def judge(images):
        frechet = metrics.frechet_from_features(features, extractor.features(images))
        found = {"frechet": float(frechet)}
        if isinstance(extractor, metrics.ClassifierFeatures):
            found["class_tv"] = float(0.5 * np.abs(shares(real) - shares(images)).sum())
        return found

    return judge


def picture(path: Path, drawn: dict[str, Drawn], decode: Callable) -> Path:
    """A row of decoded samples for every sampler but the refined one."""
    rows = [title for title in drawn if title != REFINED]
    images = np.concatenate([decode(drawn[title].samples[:SHOWN]) for title in rows])
    grid = plotting.image_grid(images, columns=len(images) // len(rows))
    return plotting.save_image(path, plotting.label_rows(grid, rows))
