"""Scores that separate images of other data from those of a run."""

import contextlib
from typing import Any

import numpy as np

from experiments.shared.likelihoods import has_option, log_prob
from experiments.shared.registry import Saved
from gen_jax import metrics
from gen_jax.errors import ConfigError
from gen_jax.types import Float


def far_log_prob(saved: Saved, x: np.ndarray) -> Float[np.ndarray, "N"]:
    """log p(x), of a diffusion model by an adaptive solver: fixed steps fail far from the data."""
    options: dict[str, Any] = {"method": "dopri5"} if has_option(saved, "method") else {}
    return log_prob(saved, x, **options)


def scores(
    saved: Saved, background: Saved | None, mean: float, x: np.ndarray
) -> dict[str, np.ndarray]:
    """Every score of x [N, ...]; `mean` is that of -log p in training."""
    simpler = None if background is None else far_log_prob(background, x)
    images = x if saved.spec.kind == "images" else None
    found = metrics.likelihood_scores(far_log_prob(saved, x), mean, simpler, images)
    with contextlib.suppress(ConfigError):  # no classifier of these data
        found |= metrics.classifier_scores(metrics.load_classifier(saved.spec.name).logits(x))
    return found
