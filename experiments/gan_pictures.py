"""Pictures of a trained GAN: the critic's scores in the plane; images on arcs between latents."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pictures import draw
from gen_jax import gan, plotting
from gen_jax.data import DatasetSpec
from gen_jax.gan.diagnostics import spherical
from gen_jax.gan.options import GanState, Parts
from gen_jax.model import GenerativeModel
from gen_jax.types import Array
from gen_jax.units import encode

ROWS, COLUMNS = 8, 10


def arcs(parts: Parts, state: GanState, seed: int = 0) -> Array:
    """Images along one arc per row, ROWS * COLUMNS of them; a row has one label and one code."""
    options = parts.options
    key_ends, key = jax.random.split(jax.random.key(seed))
    first, last = jax.random.normal(key_ends, (2, ROWS, options.latent))
    z = spherical(first, last, jnp.linspace(0, 1, COLUMNS)).transpose(1, 0, 2)
    z = z.reshape(-1, options.latent)
    row = jnp.repeat(jnp.arange(ROWS), COLUMNS)
    categories, numbers = options.code
    if categories:
        z = jnp.concatenate([z, jax.nn.one_hot(row % categories, categories)], 1)
    z = jnp.concatenate([z, jnp.zeros((len(z), numbers))], 1)
    label = row % parts.classes if parts.classes else None
    keys = jnp.repeat(jax.random.split(key, ROWS), COLUMNS)  # one noise per row
    return jax.jit(lambda state: gan.from_latent(parts, state, keys, z, label))(state)


def gan_pictures(
    parts: Parts, directory: Path, model: GenerativeModel, spec: DatasetSpec, state: GanState
) -> Path:
    """Scores of the critic beside samples for points, arcs between latents for images."""
    if spec.kind == "images":
        path = directory / "samples" / "arcs.png"
        grid = plotting.image_grid(np.asarray(arcs(parts, state)), columns=COLUMNS)
        return plotting.save_image(path, grid)
    samples = draw(model, spec, state, 1000, seed=1)
    label = jnp.zeros(1, jnp.int32) if parts.judged_label else None

    def scores(x):
        u = encode(parts.options, jax.random.key(0), x)
        given = None if label is None else jnp.broadcast_to(label, (len(u),))
        return gan.judgement_of(parts, state, u, given).score

    figure = plotting.density_map(scores, plotting.window_around(samples), samples)
    return plotting.save(figure, directory / "samples" / "critic.png")
