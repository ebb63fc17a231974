"""Priors on the codes of a VQ-VAE: any model of sequences of integers, or counts at each place.

The maps [B, h, w] of an image's codes become one sequence, the coarsest map first, each by rows.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import is_known
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel, compiled
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Int

MEMORY = 0.99
"""Weight of the past in the counts of codes at each place."""

Sides = Sequence[tuple[int, int]]
"""Height and width of each map of codes, finest first."""


def num_codes(sides: Sides) -> int:
    """Length of an image's sequence of codes."""
    return sum(height * width for height, width in sides)


def to_sequence(maps: Sequence[Int[Array, "B _ _"]]) -> Int[Array, "B T"]:
    """Maps, finest first, as one sequence, coarsest first."""
    return jnp.concatenate([m.reshape(len(m), -1) for m in reversed(maps)], 1)


def to_maps(sequence: Int[Array, "B T"], sides: Sides) -> list[Int[Array, "B _ _"]]:
    """The inverse of `to_sequence`."""
    maps, start = [], 0
    for side in reversed(sides):
        end = start + math.prod(side)
        maps.append(sequence[:, start:end].reshape(-1, *side))
        start = end
    return maps[::-1]


def logits(counts: Float[Array, "T K"]) -> Float[Array, "T K"]:
    """log p(code) at each place, from counts with half an observation added to each."""
    return jax.nn.log_softmax(jnp.log(counts + 0.5))


def independent_codes(length: int, size: int) -> GenerativeModel:
    """Codes independent over places, each by running counts: samples hold together only locally."""

    def init(key, batch):
        x = batch["x"]
        most = np.asarray(x).max(initial=0) if is_known(x) else 0  # jax would trace it
        if x.shape[1:] != (length,) or most >= size:
            raise ConfigError(
                f"codes {x.shape} up to {most} for a prior of {length} codes below {size}"
            )
        return jnp.zeros((length, size))

    def log_prob(key, state, x):
        return logits(state)[jnp.arange(length), x].sum(1)

    def step(key, state, batch):
        metrics = {"loss": -log_prob(key, state, batch["x"]).mean()}
        return MEMORY * state + jax.nn.one_hot(batch["x"], size).sum(0), metrics

    def sample(key, state, n):
        draw = lambda key: jax.random.categorical(key, logits(state))
        return jax.vmap(draw)(sample_keys(key, n))

    return compiled(GenerativeModel(init, step, sample, log_prob, "exact"))
