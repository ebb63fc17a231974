"""How far annealed importance sampling lies above the bound of a VAE."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.registry import Saved
from gen_jax import vae
from gen_jax.metrics import mean_and_error

ANNEALED, ANNEALED_LEVELS = 50, 50
"""Test examples and steps of annealed importance sampling."""


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """How far annealed importance sampling lies above the importance weighted bound, in nats.

    On the first images, at equal values: near 0 where `evaluation_samples` draws are enough.
    """
    config, n = saved.config, min(num, ANNEALED, len(test["x"]))
    if saved.model.log_prob is None or n < 2:
        return {}
    key, x = jax.random.key(0), test["x"][:n]
    given = {"label": jnp.asarray(test["y"][:n])} if config.conditional else {}
    functions = vae.functions(saved.model, saved.state, **given)
    u = vae.values(saved.model, saved.state, x)
    bound = vae.estimate_log_prob(key, functions, u, num_samples=config.evaluation_samples)
    walk = vae.annealed_log_prob(key, functions, u, levels=ANNEALED_LEVELS)
    return {"annealed_above_bound_nats": mean_and_error(np.asarray(walk.value - bound.value))}
