"""Hidden pixels of images, filled in by the chains of a VAE."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.registry import Saved
from gen_jax import metrics, vae
from gen_jax.types import Array, Bool, Estimate, Float, UInt8


def seen_pixels(config: Any, shape: tuple[int, ...]) -> Bool[np.ndarray, "N H W C"]:
    """Which pixels are not hidden, the same for all channels."""
    n, height, width, channels = shape
    if config.hide == "lower":
        seen = np.broadcast_to(np.arange(height)[:, None] < height // 2, (n, height, width))
    else:
        seen = np.random.default_rng(config.seed).random((n, height, width)) < 0.5
    return np.broadcast_to(seen[..., None], (n, height, width, channels))


def filled_in(
    config: Any, saved: Saved, x: UInt8[np.ndarray, "N H W C"], seen: np.ndarray, y: Any
) -> Float[np.ndarray, "K N H W C"]:
    """Grey levels 0 .. 255 of each chain's images, E[x | z] at its last z where hidden.

    Args:
      x: what the chains start from where it is hidden.
    """
    given = {"label": jnp.asarray(y)} if saved.config.conditional else {}
    functions = vae.functions(saved.model, saved.state, **given)
    u = vae.values(saved.model, saved.state, x, key=jax.random.key(config.seed))
    options: dict[str, Any] = {"rounds": config.rounds, "mean": True}

    def chain(key: Array) -> Array:
        values = vae.impute(key, functions, u, jnp.asarray(seen), **options)
        return (functions.likelihood.network_input(values) + 1) * 127.5

    keys = jax.random.split(jax.random.key(config.seed), config.chains)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(chain, keys))(keys))


def error_of(guess: np.ndarray, x: np.ndarray, hidden: np.ndarray) -> Estimate:
    """Root mean square error of hidden pixels in grey levels, with its standard error."""
    square = np.where(hidden, (guess - x.astype(np.float64)) ** 2, 0).reshape(len(x), -1).sum(1)
    mean = metrics.mean_and_error(square * len(x) / hidden.sum())
    root = float(np.sqrt(mean.value))
    return Estimate(root, float(mean.error) / (2 * root))
