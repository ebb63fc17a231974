"""What the codes of a VQ-VAE keep of images, and how many of them are in use."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.latent_pictures import grey
from experiments.shared.registry import Saved
from gen_jax import data, plotting, vae
from gen_jax.batching import in_batches
from gen_jax.data import DatasetSpec
from gen_jax.model import GenerativeModel
from gen_jax.types import State


def reconstructions(
    directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Test images, each beside what its codes decode to."""
    x = data.examples(spec.name, "test", 40)["x"]
    codes = vae.encode_codes(model, state, x)
    raw = vae.decode_codes(model, state, codes, raw=True)
    decoded = grey(vae.likelihood(model, state), raw)
    pairs = np.stack([x, decoded], 1).reshape(-1, *spec.shape)
    grid = plotting.image_grid(pairs, columns=10)
    return plotting.save_image(directory / "samples" / "reconstructions.png", grid)


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Use of each codebook over the whole test set: perplexity, and the share of codes unused."""
    encode = jax.jit(lambda x: vae.encode_codes(saved.model, saved.state, x))
    maps = in_batches(encode, 500, test["x"])
    result: dict[str, Any] = {}
    for level, codes in enumerate(maps):
        use = vae.codebook_use(jnp.asarray(codes).ravel(), saved.config.codes)
        result[f"codes_perplexity_{level}"] = float(use.perplexity)
        result[f"codes_unused_{level}"] = float(use.dead)
    return result
