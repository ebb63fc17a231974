"""What a first stage loses of images: encoded by a trained latent model, and decoded again."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.shared.registry import Saved
from experiments.shared.translation import errors, rows
from gen_jax import data, metrics
from gen_jax.batching import batch_rows
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import Parts
from gen_jax.errors import ConfigError
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel
from gen_jax.types import State

EXAMPLES, BATCH_SIZE = 2000, 250


def reconstructed(model: GenerativeModel, state: State, x: np.ndarray) -> np.ndarray:
    """E[x | z] of one posterior draw z of each image [N, H, W, C], in data units."""

    @jax.jit
    def both(key: Any, state: State, x: Any) -> Any:
        transform = parts_of(model, state, Parts)[0].options.transform
        return transform.decode(transform.encode(key, x))

    key, size = jax.random.key(0), min(len(x), BATCH_SIZE)
    each = enumerate(batch_rows(len(x), size))
    parts = [np.asarray(both(jax.random.fold_in(key, i), state, x[rows])) for i, rows in each]
    return np.concatenate(parts)[: len(x)]


def compared(saved: Saved, x: np.ndarray) -> dict[str, Any]:
    """Mean absolute difference, white being 1, and the Frechet distance to the same images."""
    x = x[:EXAMPLES]
    made = reconstructed(saved.model, saved.state, x)
    report: dict[str, Any] = {"reconstruction_error": errors(made, x)}
    try:
        features = metrics.load_classifier(saved.spec.name).features
    except ConfigError:
        return report
    distance = metrics.frechet_from_features(features(x), features(made))
    return report | {"reconstruction_frechet": float(distance)}


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """A picture of twelve test images above their reconstructions."""
    x = data.examples(spec.name, "test", 12)["x"]
    made = reconstructed(model, state, x)
    return rows(directory / "samples" / "reconstructions.png", [x, made])
