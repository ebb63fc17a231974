"""A generative model is four pure functions over one pytree of state.

Training, checkpoints, devices, metrics and pictures are written once against these four.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.types import Array, Key, Num, Shaped, State


class GenerativeModel(NamedTuple):
    """The contract every family fulfils.

    Fields:
      init: `(key, batch) -> state`; parameters, optimizer, EMA, buffers: any pytree of arrays.
      step: `(key, state, batch) -> (state, metrics)`; one update, jit-able; metrics are scalars.
      sample: `(key, state, n, **condition) -> x [n, ...]` in data units. `key` is one key, or
        one per sample [n].
      log_prob: `(key, state, x) -> [n]` in nats and data units, or None when the model is implicit.
      log_prob_kind: "exact", "lower bound", "estimate" or "none": printed beside every number.
    """

    init: Callable
    step: Callable
    sample: Callable
    log_prob: Callable | None = None
    log_prob_kind: str = "none"


def takes(model: GenerativeModel, condition: str) -> bool:
    """Whether `model.sample` has an argument of this name, or takes any name."""
    parameters = inspect.signature(model.sample).parameters.values()
    return any(p.name == condition or p.kind is p.VAR_KEYWORD for p in parameters)


def sample_keys(key: Key[Array, "*batch"], n: int) -> Key[Array, "n"]:
    """One key per sample: its index folded into `key`; or `key` itself if it has shape [n] already.

    So a sample does not depend on the batch it is drawn in, nor on the number of devices.
    """
    if key.ndim == 1:
        return key
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))


def fold_in(keys: Key[Array, "n"], data: int | Array) -> Key[Array, "n"]:
    """Fold one number (a step index, the name of a use) into each sample's key."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, data)


def normal(keys: Key[Array, "n"], shape: tuple[int, ...], dtype=jnp.float32) -> Num[Array, "n ..."]:
    """Standard normal noise [n, *shape], one key per sample."""
    return jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(keys)


def _is_arrays(value: Any) -> bool:
    """Whether a condition is a pytree of arrays, which a compiled sampler takes as an argument."""
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)


def sample_in_batches(
    model: GenerativeModel, key: Key[Array, ""], state: State, n: int, batch_size: int, **condition
) -> Shaped[Array, "n ..."]:
    """`model.sample` for many samples within memory: the same samples as one call, compiled once.

    Array conditions with leading axis n (labels) are cut into batches with the samples; others are
    passed whole.
    """
    keys = sample_keys(key, n)
    per_sample = {name: v for name, v in condition.items() if getattr(v, "shape", ())[:1] == (n,)}
    whole = {n: v for n, v in condition.items() if n not in per_sample and _is_arrays(v)}
    fixed = {n: v for n, v in condition.items() if n not in per_sample and n not in whole}
    size = min(batch_size, n)
    run = jax.jit(lambda keys, state, arrays: model.sample(keys, state, size, **arrays, **fixed))
    chunks = []
    for start in range(0, n, size):
        index = jnp.minimum(jnp.arange(start, start + size), n - 1)
        parts = {name: v[index] for name, v in per_sample.items()}
        part = run(keys[index], state, parts | whole)
        chunks.append(part[: min(size, n - start)])
    return jnp.concatenate(chunks)
