"""A linear model whose state has every kind of leaf, and a short run of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import training
from gen_jax.model import GenerativeModel

BATCH = 8


class State(NamedTuple):
    """float32 and bfloat16 arrays in a dict, a typed key that is used up, a Python number."""

    params: dict[str, jax.Array]
    key: jax.Array
    count: jax.Array
    nan_at: dict[str, jax.Array]


def data(size: int = 52) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {"x": rng.normal(size=(size, 3)).astype(np.float32)}


def model(padding=0, nan_loss_at=-1, nan_state_at=-1, width=3, dtype=jnp.bfloat16):
    """Noisy gradient descent on a linear regression.

    Every number of the state depends on the batch, the step's key and the state's own key.
    """

    def init(key, batch):
        params = {"w": jax.random.normal(key, (width,)), "average": jnp.zeros(width, dtype)}
        if padding:
            params["padding"] = jax.random.normal(key, (padding,))
        # Part of the state, so that every tiny run shares one compiled program.
        nan_at = {"loss": jnp.int32(nan_loss_at), "state": jnp.int32(nan_state_at)}
        return State(params, jax.random.fold_in(key, 1), 0, nan_at)

    def loss(w, x):
        return jnp.mean((x @ w - jnp.sin(x).sum(1)) ** 2)

    def step(key, state, batch):
        value, gradient = jax.value_and_grad(loss)(state.params["w"], batch["x"])
        noise = jax.random.normal(key, (width,)) + jax.random.normal(state.key, (width,))
        w = state.params["w"] - 0.1 * gradient + 0.01 * noise
        w = jnp.where(state.count == state.nan_at["state"], jnp.nan, w)
        average = (0.9 * state.params["average"] + 0.1 * w).astype(dtype)
        params = {**state.params, "w": w, "average": average}
        value = jnp.where(state.count == state.nan_at["loss"], jnp.nan, value)
        metrics = {"loss": value, "norm": jnp.sqrt(jnp.sum(gradient**2))}
        key = jax.random.fold_in(state.key, 2)
        return State(params, key, state.count + 1, state.nan_at), metrics

    return GenerativeModel(init, step, lambda key, state, n: jnp.zeros((n, width)))


def train(directory=None, steps=12, seed=0, make=None, **options) -> State:
    """`training.fit` of the tiny model; `make` holds options of `model`."""
    options = {"batch_size": BATCH, "save_every": 3, "log_every": 2, "progress": False} | options
    key, data_ = jax.random.key(seed), options.pop("data", None)
    return training.fit(
        key,
        model(**(make or {})),
        data() if data_ is None else data_,
        steps=steps,
        directory=directory,
        **options,
    )


def bits(state) -> list[tuple]:
    """Dtype, shape and bytes of every leaf."""
    leaves = []
    for leaf in jax.tree.leaves(state):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        leaves.append((str(array.dtype), array.shape, array.tobytes()))
    return leaves
