"""A trained GAN's samples after discriminator rejection, in the numbers of those before it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.shared.measures import evaluate_images, evaluate_points
from experiments.shared.registry import Saved
from gen_jax import data, gan
from gen_jax.data_units import to_model
from gen_jax.gan.options import GanState, Parts
from gen_jax.gan.rejection import largest_logit, percentile_shift
from gen_jax.sampling.rejection import Rejection
from gen_jax.types import Array, Key

RATIOS = ("minimax", "non_saturating")
"""Losses whose best critic says log p / q."""

PERCENTILE = 80.0
"""Of images, where ratios spread so widely that the exact rule would accept next to none."""

BATCH = 256

STEPS, RATE = 500, 5e-4
"""Of the critic's last training, by Adam."""

FEWEST = 0.05
"""Share of samples below which the sampling is given up."""


def sharpened(parts: Parts, state: GanState, train: dict[str, np.ndarray]) -> GanState:
    """The critic trained on alone, without penalty, against samples as the model draws them.

    A penalty flattens a critic: one that R1 has brought to rest says 0 of everything.
    """
    statistics = {k: v for k, v in state.ema.items() if k != "params"}
    adam, none = optax.adam(RATE), optax.set_to_zero()
    options = parts.options._replace(n_critic=1)
    alone = parts._replace(
        penalty=None, critic_optimizer=adam, generator_optimizer=none, options=options
    )
    state = state._replace(
        generator=state.ema["params"],
        generator_stats=statistics,
        generator_optimizer=none.init(state.generator),
        critic_optimizer=adam.init(state.critic),
    )
    model, n = gan.model_from_parts(alone), len(train["x"])
    key_rows, key_step = jax.random.split(jax.random.key(2))
    held = {"x": jnp.asarray(train["x"])}  # moved to the device once

    @jax.jit
    def step(state, i, held):
        rows = data.batch_indices(key_rows, i, n, min(BATCH, n))
        return model.step(jax.random.fold_in(key_step, i), state, data.take(held, rows))[0]

    # Not a scan: in one, XLA's gradient of a convolution is ten times slower on a CPU.
    for i in range(STEPS):
        state = step(state, i, held)
    return state


def thinned(parts: Parts, key: Key[Array, ""], state: GanState, n: int, shifted: bool) -> Rejection:
    """n samples that the critic lets pass; its bound and shift are of BATCH free ones."""
    key_trial, key_draw = jax.random.split(key)
    model = gan.model_from_parts(parts)
    sample = lambda key, m: model.sample(key, state, m)

    def logit(x):
        u = to_model(parts.options, jax.random.key(0), x)
        return gan.judgement_of(parts, state, u).score

    trial = logit(sample(key_trial, BATCH))
    bound = largest_logit(trial)
    shift = percentile_shift(trial, bound, PERCENTILE) if shifted else 0.0
    rounds = math.ceil(n / (FEWEST * BATCH))
    return gan.discriminator_rejection(
        key_draw, sample, logit, bound, n, shift=shift, batch_size=BATCH, max_rounds=rounds
    )


def after_rejection(parts: Parts, saved: Saved, test: dict[str, np.ndarray]) -> dict[str, Any]:
    """What `evaluate` says of samples, of those that pass; nothing for other losses and labels.

    Where fewer than FEWEST pass, their share alone.
    """
    if parts.options.loss not in RATIOS or parts.options.conditional != "none":
        return {}
    images = saved.spec.kind == "images"
    n = min(len(test["x"]), 10_000)
    train = data.subset(data.load(saved.spec.name, "train"))
    state = sharpened(parts, saved.state, train)
    draw = jax.jit(lambda key, state: thinned(parts, key, state, n, images))
    found = draw(jax.random.key(1), state)
    rates = {"acceptance": found.acceptance_rate, "above": found.share_above}
    kept = {}
    if found.num_filled == n:
        measure = evaluate_images if images else evaluate_points
        numbers = measure(saved, np.asarray(found.x), train, test)
        kept = {k: v for k, v in numbers.items() if "real" not in k and k != "features"}
    return {f"rejection_{k}": v for k, v in {**rates, **kept}.items()}
