"""Whether images of digits are what their captions say: counted, and as a picture."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.registry import Saved
from gen_jax import metrics, plotting
from gen_jax.data import DatasetSpec, captions
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel, sample_in_batches
from gen_jax.types import Estimate, State

KINDS = ((0, 0), (1, 0), (0, 1), (1, 1))
"""(thick, black) of the rows of the picture."""


def asked(n: int) -> dict[str, np.ndarray]:
    """n captions in turn, all digits of all kinds, in every order of words."""
    templates = range(len(captions.TEMPLATES))
    rows = [(d, t, b, k) for k in templates for t, b in KINDS for d in range(10)]
    every = np.array(rows)[np.arange(n) % len(rows)]
    tokens = [captions.encode(captions.sentence(*row)) for row in every.tolist()]
    flags = {"y": every[:, 0], "thick": every[:, 1], "black": every[:, 2]}
    return {**flags, "caption": np.stack(tokens)}


def in_white(x: np.ndarray, black: np.ndarray) -> np.ndarray:
    """Images [N, H, W, 1] in white on black, those of black ink turned round."""
    return np.where(black.astype(bool)[:, None, None, None], 255 - x, x)


def as_asked(
    classifier: metrics.ClassifierFeatures,
    x: np.ndarray,
    wanted: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
) -> dict[str, Estimate]:
    """Shares of images with the wanted digit, ink and strokes.

    The ink is told by the corners, strokes by the total ink: nearer to the mean of the digit's
    thick or thin test images. Digits are read where strokes are to be thin, as the classifier
    knows them.
    """
    plain, known = in_white(x, wanted["black"]), in_white(test["x"], test["black"])
    ink = lambda x: x.mean((1, 2, 3))
    of = lambda digit, thick: ink(known[(test["y"] == digit) & (test["thick"] == thick)]).mean()
    middle = np.array([(of(digit, 0) + of(digit, 1)) / 2 for digit in range(10)])
    thin = wanted["thick"] == 0
    right = {
        "digit": classifier.predict(plain[thin]) == wanted["y"][thin],
        "ink": (x[:, :: x.shape[1] - 1, :: x.shape[2] - 1].mean((1, 2, 3)) > 127.5)
        == wanted["black"],
        "strokes": (ink(plain) > middle[wanted["y"]]) == wanted["thick"],
    }
    return {name: metrics.mean_and_error(value.astype(float)) for name, value in right.items()}


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """How often samples are as asked, and test images as their captions say; nothing for sets
    without captions or classifier."""
    try:
        classifier = metrics.load_classifier(saved.spec.name.removeprefix(captions.PREFIX))
    except ConfigError:
        return {}
    if "caption" not in test:
        return {}
    wanted = asked(max(num, 160))
    count = len(wanted["y"])
    given = {"caption": jnp.asarray(wanted["caption"])}
    x = np.asarray(
        sample_in_batches(saved.model, jax.random.key(1), saved.state, count, 500, **given)
    )
    found = {f"{k}_as_asked": v for k, v in as_asked(classifier, x, wanted, test).items()}
    real = as_asked(classifier, test["x"], test, test)
    return found | {f"{k}_as_asked_real": v for k, v in real.items()}


def caption_picture(
    directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Every digit of the four kinds, a row each, with what was asked for."""
    wanted = asked(10 * len(KINDS))
    x = np.asarray(
        model.sample(jax.random.key(0), state, len(wanted["y"]), caption=wanted["caption"])
    )
    lines = [captions.sentence(7, *kind).replace("seven", "..") for kind in KINDS]
    grid = plotting.label_rows(plotting.image_grid(x, 10), lines)
    return plotting.save_image(directory / "samples" / "captions.png", grid)
