"""A trained GAN's samples after discriminator rejection, in the numbers of those before it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.shared.measures import evaluate_samples
from experiments.shared.registry import Saved
from gen_jax import data, gan
from gen_jax.frozen import parts_of

RATIOS = ("minimax", "non_saturating")
"""Losses whose best critic says log p / q."""

PERCENTILE = 80.0
"""Of images, where ratios spread so widely that the exact rule would accept next to none."""

BATCH = 256

STEPS, RATE = 500, 5e-4
"""Of the critic's last training, by Adam."""

FEWEST = 0.05
"""Share of samples below which the sampling is given up."""


def after_rejection(saved: Saved, test: dict[str, np.ndarray]) -> dict[str, Any]:
    """What `evaluate` says of samples, of those that pass; nothing for other losses and labels.

    Where fewer than FEWEST pass, their share alone.
    """
    options = parts_of(saved.model, saved.state, gan.Parts)[0].options
    if options.loss not in RATIOS or options.conditional != "none":
        return {}
    images = saved.spec.kind == "images"
    n = min(len(test["x"]), 10_000)
    train = data.subset(data.load(saved.spec.name, "train"))
    key_rows, key_train = jax.random.split(jax.random.key(2))
    size = min(BATCH, len(train["x"]))
    rows = lambda i, held: data.take(held, data.batch_indices(key_rows, i, len(held["x"]), size))
    held = {"x": jnp.asarray(train["x"])}  # moved to the device once
    state = gan.sharpened_critic(
        key_train, saved.model, saved.state, rows, held, optax.adam(RATE), num_steps=STEPS
    )
    percentile = PERCENTILE if images else None
    draw = jax.jit(
        lambda key, state: gan.sample_by_rejection(
            key, saved.model, state, n, percentile=percentile, batch_size=BATCH, fewest=FEWEST
        )
    )
    found = draw(jax.random.key(1), state)
    rates = {"acceptance": found.acceptance_rate, "above": found.share_above}
    kept = {}
    if found.num_filled == n:
        numbers = evaluate_samples(saved, np.asarray(found.x), train, test, brief=not images)
        kept = {k: v for k, v in numbers.items() if "real" not in k and k != "features"}
    return {f"rejection_{k}": v for k, v in {**rates, **kept}.items()}
