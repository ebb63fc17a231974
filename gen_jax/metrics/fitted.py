"""A small classifier fitted to examples, for metrics that ask how well it classifies."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.batching import in_batches
from gen_jax.types import Array, Float, Int, Key

BATCH_SIZE, PREDICTED = 128, 1024
"""Examples of an update; of a call that predicts."""


class Logits(NamedTuple):
    """The logits of a network that returns (logits, features)."""

    network: Any

    def init(self, key: Key[Array, ""], x: Float[Array, "B ..."]) -> Any:
        return self.network.init(key, x)

    def apply(self, params: Any, x: Float[Array, "B ..."]) -> Float[Array, "B K"]:
        return self.network.apply(params, x)[0]


@functools.partial(jax.jit, static_argnames="network")
def _fit(key, network, x, y, steps, rate, decay):
    schedule = lambda count: rate * (0.5 + 0.5 * jnp.cos(jnp.pi * count / steps))
    optimizer = optax.adamw(schedule, weight_decay=decay)
    key_start, key_steps = jax.random.split(key)
    params = network.init(key_start, x[:1])

    def loss(params, rows):
        logits = network.apply(params, x[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()

    def step(count, carry):
        params, memory = carry
        key = jax.random.fold_in(key_steps, count)
        rows = jax.random.randint(key, (min(BATCH_SIZE, len(x)),), 0, len(x))
        change, memory = optimizer.update(jax.grad(loss)(params, rows), memory, params)
        return optax.apply_updates(params, change), memory

    return jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))[0]


@functools.partial(jax.jit, static_argnames="network")
def _apply(network, params, x):
    return network.apply(params, x)


def fit_network(
    key: Key[Array, ""],
    network: Any,
    x: Float[np.ndarray, "N ..."],
    y: Int[np.ndarray, "N"],
    *,
    steps: int,
    rate: float = 1e-3,
    decay: float = 1e-2,
) -> Callable[[np.ndarray], Int[np.ndarray, "M"]]:
    """`predict(x [M, ...]) -> class [M]` of a network `x -> logits [B, K]` after `steps` of AdamW.

    Batches of 128 are drawn with replacement; the rate falls to 0 along a cosine.
    """
    data = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32)
    params = _fit(key, network, *data, int(steps), rate, decay)
    run = lambda rows: _apply(network, params, rows).argmax(-1)
    return lambda x: in_batches(run, min(PREDICTED, len(x)), np.asarray(x, np.float32))
