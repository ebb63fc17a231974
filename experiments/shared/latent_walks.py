"""Walks in a straight line between the latents of images, as a flow of images sees them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.flow_options import transform_of
from gen_jax import data, plotting
from gen_jax.data import DatasetSpec, Transform
from gen_jax.flows import Bijector, bijector
from gen_jax.model import GenerativeModel
from gen_jax.randomness import sample_keys
from gen_jax.types import State


def walks(bijector: Bijector, units: Transform, ends: np.ndarray, steps: int = 10) -> np.ndarray:
    """`steps` images from each of the first half of `ends` to one of the second, row by row.

    Args:
      bijector: of a trained flow, such as `flows.bijector(model, state)`.
      units: between data units and the flow's.
    """

    @jax.jit
    def run(x):
        z, _ = bijector.inverse(units.encode(jax.random.key(0), x))
        first, second = jnp.split(z[:, None], 2)
        share = jnp.linspace(0, 1, steps).reshape(-1, *(1,) * (z.ndim - 1))
        way = (first + share * (second - first)).reshape(-1, *z.shape[1:])
        return units.decode(bijector.forward(way)[0])

    return np.asarray(run(jnp.asarray(ends)))


TEMPERATURES = (0.5, 0.7, 0.9, 1.0)


def pictures(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Ten samples at each of TEMPERATURES, from the same noise; then walks between test images."""
    keys = sample_keys(jax.random.key(1), 10)
    draw = jax.jit(lambda t: model.sample(keys, state, 10, temperature=t))
    rows = [np.asarray(draw(jnp.float32(t))) for t in TEMPERATURES]
    ends = data.examples(spec.name, "test", 8)["x"]
    rows.append(walks(bijector(model, state), transform_of(spec), ends))
    path = directory / "samples" / "temperatures_and_walks.png"
    return plotting.save_image(path, plotting.image_grid(np.concatenate(rows), columns=10))
