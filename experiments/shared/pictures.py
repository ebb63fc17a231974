"""Pictures of a run's samples: grids of images, points beside the data, or text."""

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.caption_checks import subject_of
from gen_jax import data, plotting, writing
from gen_jax.data import DatasetSpec, Vocabulary
from gen_jax.errors import DataError
from gen_jax.model import GenerativeModel, sample_in_batches
from gen_jax.types import Array, State

BATCH_SIZE = 512
COUNTS = {"images": 100, "points": 4000, "text": 8}
"""Samples of a picture."""


def balanced_labels(model: GenerativeModel, spec: DatasetSpec, n: int) -> Array | None:
    """0, 1, .., K - 1, 0, 1, .. for n samples; None when data or model have no labels."""
    if not spec.num_classes or "label" not in model.conditions:
        return None
    return jnp.arange(n, dtype=jnp.int32) % spec.num_classes


def balanced(model: GenerativeModel, spec: DatasetSpec, n: int) -> dict[str, Array]:
    """What n samples are conditioned on if nothing is given: captions or labels in turn, as the
    model takes them."""
    subject = subject_of(spec.name)
    if subject is not None and "caption" in model.conditions:
        return {"caption": jnp.asarray(subject.asked(n)["caption"])}
    labels = balanced_labels(model, spec, n)
    return {} if labels is None else {"label": labels}


def draw(
    model: GenerativeModel, spec: DatasetSpec, state: State, n: int, seed: int = 0, **condition
) -> np.ndarray:
    """n samples in data units, with `balanced` labels or captions unless some are given."""
    if condition.get("label") is None:
        condition.pop("label", None)
    if not condition.keys() & {"label", "caption"}:
        condition |= balanced(model, spec, n)
    key = jax.random.key(seed)
    return np.asarray(sample_in_batches(model, key, state, n, min(n, BATCH_SIZE), **condition))


def image_rows(rows: Sequence[np.ndarray], most: int, padding: int = 1) -> np.ndarray:
    """Rows of images [N, H, W, C] below each other: `most` of each, or as many as all have."""
    count = min(most, *map(len, rows))
    images = np.concatenate([row[:count] for row in rows])
    return plotting.image_grid(images, columns=count, padding=padding)


def picture(path: Path, spec: DatasetSpec, samples: np.ndarray, columns: int = 10) -> Path:
    """Write samples as a grid, as text, or as points beside the test data when there are any."""
    if spec.kind == "text":
        return write_text(path.with_suffix(".txt"), spec, samples)
    if spec.kind == "images":
        return plotting.save_image(path, plotting.image_grid(samples, columns=columns))
    sets = {"samples": samples[:, :2]}  # of more dimensions the first two
    with contextlib.suppress(DataError):
        sets = {"data": data.examples(spec.name, "test", len(samples))["x"][:, :2], **sets}
    return plotting.save(plotting.point_panels(sets), path)


def write_text(path: Path, spec: DatasetSpec, samples: np.ndarray) -> Path:
    """Tokens [N, T] as N pieces of text with a ruled line between them."""
    vocabulary = Vocabulary.from_json(spec.vocabulary)
    path.parent.mkdir(parents=True, exist_ok=True)
    rule = f"\n{'-' * 60}\n"
    writing.write_text(path, rule.join(vocabulary.decode(row) for row in samples) + "\n")
    return path


def write_samples(
    directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State, step: int
) -> Path:
    """100 images (one row for each ten labels), 4000 points or 8 texts, in `samples/` of a run."""
    samples = draw(model, spec, state, COUNTS[spec.kind])
    return picture(directory / "samples" / f"step_{step:08d}.png", spec, samples)


def density(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """The density with samples on top; for images, one grid of samples more."""
    samples = draw(model, spec, state, 400, seed=1)
    path = directory / "samples" / "density.png"
    if spec.kind == "images":
        return plotting.save_image(path, plotting.image_grid(samples, columns=20))
    assert model.log_prob is not None
    log_density = partial(model.log_prob, jax.random.key(0), state)
    figure = plotting.density_map(log_density, plotting.window_around(samples), samples)
    return plotting.save(figure, path)
