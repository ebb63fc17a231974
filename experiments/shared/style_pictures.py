"""Pictures of a StyleGAN: styles mixed by layers, and truncated."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.shared.gan_pictures import truncations
from gen_jax import data, plotting
from gen_jax.data import DatasetSpec
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
    network: StyleGenerator,
    latent: int,
    directory: Path,
    model: GenerativeModel,
    spec: DatasetSpec,
    state: State,
) -> Path:
    """Writes `mixing.png` and `truncation.png` in `samples/` of a run."""
    n = 8
    keys = sample_keys(jax.random.key(1), n)
    label = jnp.arange(n) % spec.num_classes if network.num_classes else None
    w: Any = network.apply(state.ema, normal(keys, (latent,)), label, method="styles")
    folder, decode = directory / "samples", data.symmetric_images().decode
    grid = plotting.image_grid(decode(mixtures(network, state, w, keys)), n + 1)
    plotting.save_image(folder / "mixing.png", grid)
    return truncations(folder / "truncation.png", model, spec, state, SWEEP)
