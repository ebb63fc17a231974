"""Images beside their projections on a trained surface, and on the plane of PCA."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.pictures import image_rows
from gen_jax import data, flows, plotting
from gen_jax.classical import gaussian_image
from gen_jax.data import DatasetSpec
from gen_jax.model import GenerativeModel
from gen_jax.types import State

TRANSFORM = data.to_unit()
"""Pixels in [0, 1], without noise: noise lies off the surface."""


def as_vectors(x: np.ndarray) -> jax.Array:
    """Images to pixels in [0, 1], [N, D]."""
    return TRANSFORM.encode(jax.random.key(0), jnp.asarray(x)).reshape(len(x), -1)


def projections(
    model: GenerativeModel, state: State, spec: DatasetSpec, rank: int, u: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """u [N, D] projected on the surface by the outer flow, and on PCA's plane of `rank`."""
    here = flows.surface(model, state)
    law = gaussian_image.fit(as_vectors(data.load(spec.name, "train")["x"]), rank=rank)
    flat = law.mean + (u - law.mean) @ law.axes @ law.axes.T
    return jax.jit(lambda u: here.decode(here.encode(u)))(u), flat


def reconstructions(
    config: Any, directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Ten test images; below them their projections on the surface, and on PCA's plane."""
    u = as_vectors(data.examples(spec.name, "test", 10)["x"])
    rows = [u, *projections(model, state, spec, config.latent, u)]
    images = [np.asarray(TRANSFORM.decode(row.reshape(-1, *spec.shape))) for row in rows]
    path = directory / "samples" / "reconstructions.png"
    return plotting.save_image(path, image_rows(images, 10))
