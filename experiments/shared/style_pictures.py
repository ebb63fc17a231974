"""Pictures of a StyleGAN: styles mixed by layers, and truncated."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.shared.gan_pictures import truncations
from gen_jax import gan, plotting
from gen_jax.data import DatasetSpec
from gen_jax.data_units import to_data
from gen_jax.frozen import parts_of
from gen_jax.gan_nets import StyleGenerator
from gen_jax.gan_nets.stylegan import mix_styles
from gen_jax.model import GenerativeModel
from gen_jax.randomness import normal, sample_keys
from gen_jax.types import Array, State

SWEEP = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""Truncations of the picture, one a column."""


def mixtures(network: StyleGenerator, state: State, w: Array, keys: Array) -> Array:
    """Images in [-1, 1]: the first row and column plain; elsewhere the row's coarse styles (half
    of the layers) with the finer ones of the column."""
    n = len(w)
    plain = mix_styles(w, w, 0, network.layers)
    pairs = mix_styles(w.repeat(n, 0), jnp.tile(w, (n, 1)), network.layers // 2, network.layers)
    make: Any = lambda styles, keys: network.apply(state.ema, styles, keys, method="synthesize")
    blank = jnp.ones((1, *network.shape))
    own, mixed = make(plain, keys), make(pairs, jnp.repeat(keys, n, 0))
    rows = jnp.concatenate([own[:, None], mixed.reshape(n, n, *network.shape)], 1)
    top = jnp.concatenate([blank, own])[None]
    return jnp.concatenate([top, rows]).reshape(-1, *network.shape)


def style_pictures(
    directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Writes `mixing.png` and `truncation.png` in `samples/` of a run."""
    n, (parts, own) = 8, parts_of(model, state, gan.Parts)
    keys, network, options = sample_keys(jax.random.key(1), n), parts.generator, parts.options
    label = None if options.condition is None else jnp.arange(n) % spec.num_classes
    w: Any = network.apply(own.ema, normal(keys, (options.latent,)), label, method="styles")
    folder = directory / "samples"
    made = to_data(options, mixtures(network, own, w, keys))
    grid = plotting.image_grid(made, n + 1)
    plotting.save_image(folder / "mixing.png", grid)
    return truncations(folder / "truncation.png", model, spec, state, SWEEP)
