"""What the codes of a VQ-VAE keep of images, and how many of them are in use."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.latent_pictures import grey
from experiments.shared.registry import Saved
from gen_jax import data, metrics, plotting, vae
from gen_jax.batching import in_batches
from gen_jax.data import DatasetSpec
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel
from gen_jax.types import Estimate, State

BATCH_SIZE = 500


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
    maps = in_batches(encode, BATCH_SIZE, test["x"])
    result: dict[str, Any] = {}
    for level, codes in enumerate(maps):
        use = vae.codebook_use(jnp.asarray(codes).ravel(), saved.config.codes)
        result[f"codes_perplexity_{level}"] = float(use.perplexity)
        result[f"codes_unused_{level}"] = float(use.dead)
    return result


def codes_of_sentences(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """`measure_test`, and log p in nats of the codes of `num` test images (at least 100), given
    their sentences and, where training hid some, without: the difference is what the sentences
    say. Nothing of pixels.
    """
    if saved.config.model != "tokens":
        return {}
    parts, own = parts_of(saved.model, saved.state, vae.VQParts)
    few = {name: values[: max(num, 100)] for name, values in test.items()}
    encode = jax.jit(lambda x: vae.to_sequence(vae.encode_codes(saved.model, saved.state, x)))
    codes, log_prob = in_batches(encode, BATCH_SIZE, few["x"]), parts.prior.log_prob

    def nats(**given: np.ndarray) -> Estimate:
        of_rows = lambda rows: log_prob(
            None, own.prior, codes[rows], **{name: x[rows] for name, x in given.items()}
        )
        rows = np.arange(len(codes))
        return metrics.mean_and_error(in_batches(of_rows, BATCH_SIZE, rows, "log p of codes"))

    found = {}
    if "caption" in few:
        found["log_prob_codes_given_text"] = nats(caption=few["caption"])
        if saved.config.label_dropout:
            found["log_prob_codes"] = nats()
    return measure_test(saved, test, num) | found
