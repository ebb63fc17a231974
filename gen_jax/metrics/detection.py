"""Scores of examples that do not belong, and how well a score separates two sets."""

import io
import math
from typing import Any

import jax
import numpy as np
from PIL import Image

from gen_jax.checks import as_array, no_type_check, on_host
from gen_jax.errors import ConfigError, check_finite
from gen_jax.types import Array, Estimate, Float, UInt8


@no_type_check
def auroc(
    inside: Float[Array | np.ndarray, "N"], outside: Float[Array | np.ndarray, "M"]
) -> Estimate:
    """Area under the ROC curve of a score that should be higher outside, with its standard error.

    The probability that a score of `outside` exceeds one of `inside`, ties counted half
    (mann1947): 1 is perfect, 0.5 is chance, less is worse than chance. The error is delong1988's.
    Raises ConfigError unless both sets have at least two scores, none of them NaN.
    """
    x, y = _scores("inside", inside), _scores("outside", outside)
    above = 1 - _share_below(y, x)  # of outside, above each of inside
    below = _share_below(x, y)
    error = np.sqrt(above.var(ddof=1) / len(x) + below.var(ddof=1) / len(y))
    return Estimate(float(below.mean()), float(error))


@no_type_check
def png_nats(x: UInt8[np.ndarray, "N H W C"]) -> Float[np.ndarray, "N"]:
    """Length of each image as a PNG, in nats: its complexity to a lossless coder (serra2020).

    Raises ConfigError unless the images are uint8 with one channel or three.
    """
    x = np.asarray(as_array("x", x))
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or x.dtype != np.uint8:
        raise ConfigError(f"x has shape {x.shape} of {x.dtype}; it must be uint8 [N, H, W, 1 or 3]")

    def length(image: np.ndarray) -> float:
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
        return 8 * math.log(2) * len(buffer.getvalue())

    return np.array([length(image) for image in x])


@no_type_check
def likelihood_scores(
    log_prob: Float[np.ndarray, "N"],
    mean: float,
    background: Float[np.ndarray, "N"] | None = None,
    images: UInt8[np.ndarray, "N H W C"] | None = None,
) -> dict[str, np.ndarray]:
    """Scores in nats [N], higher for what does not belong.

    "likelihood" -log p(x); "typicality" | -log p(x) - mean | (nalisnick2019); with `background`
    "likelihood_ratio" log p0(x) - log p(x) (ren2019); with `images` "complexity" -log p(x) less
    the length of x as a PNG (serra2020).

    Args:
      mean: of -log p over the training set.
      background: log p0(x) of a model of background statistics alone.
    Raises ConfigError for log-probabilities that are NaN, or not [N].
    """
    check_finite("mean", mean)
    nats = -_scores("log_prob", log_prob)
    found = {"likelihood": nats, "typicality": np.abs(nats - mean)}
    if background is not None:
        found["likelihood_ratio"] = nats + _scores("background", background)
    if images is not None:
        found["complexity"] = nats - png_nats(images)
    return found


@no_type_check
def classifier_scores(logits: Float[np.ndarray, "N K"]) -> dict[str, np.ndarray]:
    """Scores [N] of a classifier, higher for what does not belong.

    "classifier_energy" -logsumexp of the logits (liu2020), "classifier_softmax" -max log p(y | x)
    (hendrycks2017). Raises ConfigError unless the logits are [N, K].
    """
    logits = np.asarray(as_array("logits", logits))
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ConfigError(f"logits have shape {logits.shape}; they must be [N, K] with K >= 1")
    log_sum = np.asarray(jax.nn.logsumexp(logits, axis=1))
    return {"classifier_energy": -log_sum, "classifier_softmax": log_sum - logits.max(1)}


def _scores(name: str, values: Any) -> np.ndarray:
    x = on_host(name, values, finite=False).astype(np.float64)
    if x.ndim != 1 or len(x) < 2:
        raise ConfigError(f"{name} has shape {x.shape}; it must be [N] with N >= 2 scores")
    if np.isnan(x).any():
        raise ConfigError(f"{name}: {np.isnan(x).sum()} scores are NaN")
    return x


def _share_below(values: Float[np.ndarray, "N"], at: Float[np.ndarray, "M"]) -> np.ndarray:
    """For each of `at`, the share of values below it and half of those equal to it, [M]."""
    ordered = np.sort(values)
    ends = [np.searchsorted(ordered, at, side) for side in ("left", "right")]
    return (ends[0] + ends[1]) / (2 * len(values))
