"""Pictures of a run's samples: grids of images, or points beside the data."""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.exact_sets import target_of
from gen_jax import data, plotting
from gen_jax.data import DatasetSpec
from gen_jax.errors import DataError
from gen_jax.model import GenerativeModel, sample_in_batches
from gen_jax.types import Array, State

BATCH_SIZE = 512


def balanced_labels(spec: DatasetSpec, n: int) -> Array | None:
    """0, 1, .., K - 1, 0, 1, .. for n samples, or None without labels."""
    return jnp.arange(n, dtype=jnp.int32) % spec.num_classes if spec.num_classes else None


def draw(
    model: GenerativeModel, spec: DatasetSpec, state: State, n: int, seed: int = 0, **condition
) -> np.ndarray:
    """n samples in data units, with balanced labels unless labels are given."""
    labels = condition.pop("label", None)
    labels = balanced_labels(spec, n) if labels is None else labels
    if labels is not None:
        condition["label"] = labels
    key = jax.random.key(seed)
    return np.asarray(sample_in_batches(model, key, state, n, min(n, BATCH_SIZE), **condition))


def picture(path: Path, spec: DatasetSpec, samples: np.ndarray, columns: int = 10) -> Path:
    """Write samples as a grid, or as points beside the test data when that can be loaded."""
    if spec.kind == "images":
        return plotting.save_image(path, plotting.image_grid(samples, columns=columns))
    sets = {"samples": samples}
    if spec.kind == "target":
        return plotting.save(target_panels(spec, samples), path)
    with contextlib.suppress(DataError):
        sets = {"data": data.load(spec.name, "test")["x"][: len(samples)], **sets}
    return plotting.save(plotting.point_panels(sets), path)


def target_panels(spec: DatasetSpec, samples: np.ndarray) -> Figure:
    """The first two coordinates of samples, beside exact ones where there are any."""
    target, sets = target_of(spec), {"samples": samples[:, :2]}
    if target.sample is not None:
        sets = {"exact": np.asarray(target.sample(jax.random.key(0), len(samples)))[:, :2], **sets}
    return plotting.point_panels(sets)


def write_samples(
    directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State, step: int
) -> Path:
    """100 images (one row for each ten labels) or 4000 points, in `samples/` of a run."""
    samples = draw(model, spec, state, 100 if spec.kind == "images" else 4000)
    return picture(directory / "samples" / f"step_{step:08d}.png", spec, samples)
