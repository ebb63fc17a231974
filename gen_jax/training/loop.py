"""The compiled part of training: any number of steps in one call, compiled once."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.loader import batch_indices, take
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.training import sharding
from gen_jax.types import Array, Key, State


class Loop(NamedTuple):
    """What `prepare_loop` makes; nothing is compiled or computed before it is called.

    Fields:
      template: shapes, dtypes and shardings of the state.
      init: `() -> state`, placed on the mesh.
      compile: `() -> run`, and
        `run(state, step, count, batch) -> (state, sums of metrics, first step not finite or -1)`;
        the state given is donated, `batch` is None when the data are on the devices.
    """

    template: State
    init: Callable
    compile: Callable


def _feeding(data: Any, key: Key[Array, ""], batch_size: int, mesh: Any) -> tuple:
    """`held(batch)`, what a call is given, and `batch_at(held, k)`, the batch of step k in it."""
    if not isinstance(data, Mapping):
        return lambda batch: sharding.shard_batch(batch, mesh), lambda held, k: held
    rows, copies = sharding.batch_sharding(mesh), sharding.replicated(mesh)
    placed = jax.device_put({name: np.asarray(v) for name, v in data.items()}, copies)
    key, size = jax.device_put(key, copies), len(data["x"])

    def batch_at(held, k):
        key, arrays = held
        batch = take(arrays, batch_indices(key, k, size, batch_size))
        return jax.lax.with_sharding_constraint(batch, rows)

    return lambda batch: (key, placed), batch_at


def _accumulating(step_at: Callable, zero: dict[str, Array]) -> Callable:
    """`call(state, start, count, key, held)`: that many steps, the sums of their metrics."""

    def call(state, start, count, key, held):
        def body(k, carry):
            state, sums, bad = carry
            state, metrics = step_at(jax.random.fold_in(key, k), state, k, held)
            metrics = {name: value.astype(jnp.float32) for name, value in metrics.items()}
            finite = jnp.all(jnp.stack([jnp.isfinite(value) for value in metrics.values()]))
            bad = jnp.where((bad < 0) & ~finite, k, bad)
            return state, jax.tree.map(jnp.add, sums, metrics), bad

        return jax.lax.fori_loop(start, start + count, body, (state, zero, jnp.int32(-1)))

    return call


def prepare_loop(
    key: Key[Array, ""],
    model: GenerativeModel,
    data: Any,
    first: Mapping[str, Any],
    batch_size: int,
    mesh: Any,
) -> Loop:
    """The training of a model, traced for its shapes only.

    Args:
      data: a mapping of arrays to keep on the devices, or anything else for batches from outside.
      first: one batch, for its shapes and for `model.init`.
    Raises ConfigError when `model.step` does not return scalar metrics.
    """
    key_init, key_order, key_steps = jax.random.split(key, 3)
    first = {name: np.asarray(value) for name, value in first.items()}
    abstract = jax.eval_shape(model.init, key_init, first)
    placement = sharding.state_shardings(abstract, mesh)
    template = jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), abstract, placement
    )
    metrics = jax.eval_shape(model.step, key_steps, template, first)[1]
    if not metrics or any(m.shape != () for m in metrics.values()):
        raise ConfigError("model.step must return a non-empty dict of scalar metrics")
    zero = {name: jnp.zeros((), jnp.float32) for name in metrics}
    held, batch_at = _feeding(data, key_order, batch_size, mesh)

    def step_at(key, state, k, held):
        return model.step(key, state, batch_at(held, k))

    copies = sharding.replicated(mesh)
    # Keys are arguments, not constants: another seed finds the compiled program in the cache.
    key_steps = jax.device_put(key_steps, copies)
    call = jax.jit(
        _accumulating(step_at, zero), donate_argnums=0, out_shardings=(placement, copies, copies)
    )

    def compiled() -> Callable:
        lowered = call.lower(template, jnp.int32(0), jnp.int32(1), key_steps, held(first))
        run = lowered.compile()
        return lambda state, step, count, batch=None: run(
            state, jnp.int32(step), jnp.int32(count), key_steps, held(batch)
        )

    initial = jax.jit(model.init, out_shardings=placement)
    return Loop(template, lambda: initial(key_init, first), compiled)
