"""Pictures of a trained GAN: the critic's scores in the plane; of images arcs between latents, sums
of latents, truncations, and the parts of a code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.gan_diagnostics import analogies
from experiments.shared.pictures import balanced_labels, draw, picture
from gen_jax import gan, plotting
from gen_jax.conditions import num_classes
from gen_jax.data import DatasetSpec
from gen_jax.frozen import parts_of
from gen_jax.gan.diagnostics import spherical
from gen_jax.model import GenerativeModel
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, State

ROWS, COLUMNS = 8, 10

SWEEP = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
"""Largest |z| of the picture of truncations, one a column."""


def truncations(
    path: Path,
    model: GenerativeModel,
    spec: DatasetSpec,
    state: State,
    sweep: Sequence[float] = SWEEP,
) -> Path:
    """ROWS samples by every truncation, each row with one key and one label."""
    keys, label = sample_keys(jax.random.key(1), ROWS), balanced_labels(model, spec, ROWS)
    condition = {} if label is None else {"label": label}
    make = jax.jit(lambda psi: model.sample(keys, state, ROWS, truncation=psi, **condition))
    columns = np.stack([np.asarray(make(psi)) for psi in sweep], 1)
    return picture(path, spec, columns.reshape(-1, *spec.shape), len(sweep))


def arcs(model: GenerativeModel, state: State, seed: int = 0) -> Array:
    """Images along one arc per row, ROWS * COLUMNS of them; a row has one label and one code."""
    options = parts_of(model, state, gan.Parts)[0].options
    key_ends, key = jax.random.split(jax.random.key(seed))
    first, last = jax.random.normal(key_ends, (2, ROWS, options.latent))
    z = spherical(first, last, jnp.linspace(0, 1, COLUMNS)).transpose(1, 0, 2)
    z = z.reshape(-1, options.latent)
    row = jnp.repeat(jnp.arange(ROWS), COLUMNS)
    categories, numbers = options.code
    if categories:
        z = jnp.concatenate([z, jax.nn.one_hot(row % categories, categories)], 1)
    z = jnp.concatenate([z, jnp.zeros((len(z), numbers))], 1)
    classes = num_classes(options.condition)
    condition: dict[str, Any] = {"label": row % classes} if classes else {}
    keys = jnp.repeat(jax.random.split(key, ROWS), COLUMNS)  # one noise per row
    return jax.jit(lambda state: gan.generator(model, state, **condition)(z, keys))(state)


def codes(model: GenerativeModel, state: State, seed: int = 0) -> Array:
    """Images [blocks * ROWS, columns, H, W, C] of "info", a row with one noise (chen2016, fig. 2):
    a block where the category grows along the row, then one for each number, from -2 to 2, whose
    rows have one category each.
    """
    options = parts_of(model, state, gan.Parts)[0].options
    categories, numbers = options.code
    columns = categories or COLUMNS
    row, column = jnp.indices((ROWS, columns))
    category = lambda index: jax.nn.one_hot(index % max(categories, 1), categories)
    still = jnp.zeros((ROWS, columns, numbers))
    blocks = [jnp.concatenate([category(column), still], -1)] if categories else []
    for i in range(numbers):
        moved = still.at[:, :, i].set(jnp.linspace(-2, 2, columns))
        blocks.append(jnp.concatenate([category(row), moved], -1))
    code = jnp.concatenate(blocks)
    key_noise, key = jax.random.split(jax.random.key(seed))
    of_row = lambda rows: jnp.repeat(jnp.concatenate([rows] * len(blocks)), columns, axis=0)
    noise = of_row(jax.random.normal(key_noise, (ROWS, options.latent)))
    z = jnp.concatenate([noise, code.reshape(len(noise), -1)], 1)
    keys = of_row(jax.random.split(key, ROWS))
    images = jax.jit(lambda state: gan.generator(model, state)(z, keys))(state)
    return images.reshape(-1, columns, *options.shape)


def gan_pictures(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Writes in `samples/` of a run `critic.png` of points: scores of the critic beside samples. Of
    images `arcs.png`, `truncation.png`, `codes.png` of "info", and `analogies.png` where a
    classifier reads the samples.
    """
    parts, _ = parts_of(model, state, gan.Parts)
    if spec.kind == "images":
        folder = directory / "samples"
        truncations(folder / "truncation.png", model, spec, state)
        if found := analogies(model, state, spec):
            rows = found.rows
            picture(folder / "analogies.png", spec, rows.reshape(-1, *spec.shape), rows.shape[1])
        if parts.options.conditional == "info":
            rows = np.asarray(codes(model, state))
            picture(folder / "codes.png", spec, rows.reshape(-1, *spec.shape), rows.shape[1])
        return picture(folder / "arcs.png", spec, np.asarray(arcs(model, state)), COLUMNS)
    samples = draw(model, spec, state, 1000, seed=1)
    judge = gan.critic(model, state, **({"label": 0} if parts.critic_sees else {}))
    scores = lambda x: judge(x).score
    figure = plotting.density_map(scores, plotting.window_around(samples), samples)
    return plotting.save(figure, directory / "samples" / "critic.png")
