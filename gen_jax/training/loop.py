"""The compiled part of training: any number of steps in one call, compiled once."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.loader import batch_indices, take
from gen_jax.errors import ConfigError
from gen_jax.fine_tuning import start_from
from gen_jax.model import GenerativeModel
from gen_jax.training import sharding
from gen_jax.training.numbers import check_names
from gen_jax.types import Array, Key, State


class Loop(NamedTuple):
    """What `prepare_loop` makes; nothing is compiled or computed before it is called.

    Fields:
      template: shapes, dtypes and shardings of the state.
      check: `(batch) -> ...`, raises what `model.init` raises for the values of a batch.
      init: `() -> state`, placed on the mesh.
      compile: `() -> run`, and
        `run(state, step, count, batch, sums) -> (state, sums, first step not finite or -1)`; the
        state and the sums given are donated, `batch` is None when the data are on the devices.
        `sums` are those of the metrics so far, None for zeros; each step adds to them, so that
        they do not depend on how the steps are cut into calls.
      metrics: their names.
      parameters: the model's.
    """

    template: State
    check: Callable
    init: Callable
    compile: Callable
    metrics: frozenset[str]
    parameters: Callable


def _feeding(data: Any, key: Key[Array, ""], batch_size: int, mesh: Any) -> tuple:
    """`held(batch)`, what a call is given, and `batch_at(held, k)`, the batch of step k in it."""
    rows = sharding.batch_sharding(mesh)
    if not isinstance(data, Mapping):
        return lambda batch: sharding.place(dict(batch), rows), lambda held, k: held
    copies = sharding.replicated(mesh)
    placed, key, size = (
        sharding.place(dict(data), copies),
        sharding.place(key, copies),
        len(data["x"]),
    )

    def batch_at(held, k):
        key, arrays = held
        batch = take(arrays, batch_indices(key, k, size, batch_size))
        return jax.lax.with_sharding_constraint(batch, rows)

    return lambda batch: (key, placed), batch_at


def _accumulating(step_at: Callable) -> Callable:
    """`one(k, carry, key, held)`: step k, on a carry of state, sums of metrics, first bad step."""

    def one(k, carry, key, held):
        state, sums, bad = carry
        state, metrics = step_at(jax.random.fold_in(key, k), state, k, held)
        metrics = {name: value.astype(jnp.float32) for name, value in metrics.items()}
        finite = jnp.all(jnp.stack([jnp.isfinite(value) for value in metrics.values()]))
        bad = jnp.where((bad < 0) & ~finite, k, bad)
        return state, jax.tree.map(jnp.add, sums, metrics), bad

    return one


def _loops_badly(step: Any, mesh: Any) -> bool:
    """Whether a traced step is better called from Python than looped over by XLA.

    On a CPU, XLA compiles the gradient of a convolution inside a loop to code ten to twenty times
    slower than outside; whatever else there is runs at least as fast in the loop.
    """
    return mesh.devices.flat[0].platform == "cpu" and "conv_general_dilated" in str(step)


def _repeated(one: Callable, in_python: bool, **options: Any) -> Any:
    """`call(k, count, carry, key, held)`, jitted: one step, or `count` of them from k on."""

    def several(start, count, carry, key, held):
        body = lambda k, carry: one(k, carry, key, held)
        return jax.lax.fori_loop(start, start + count, body, carry)

    single = lambda k, count, carry, key, held: one(k, carry, key, held)
    return jax.jit(single if in_python else several, donate_argnums=2, **options)


def _check_form(before: State, after: State) -> None:
    """Raise ConfigError where `model.step` returns a state of another form than `model.init`."""
    form = lambda state: {
        jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}"
        for path, x in jax.tree_util.tree_flatten_with_path(state)[0]
    }
    before, after = form(before), form(after)
    for name in (*before, *after):
        if before.get(name) != after.get(name):
            raise ConfigError(
                f"model.step must keep the form of the state: {name or 'the state'} was "
                f"{before.get(name, 'absent')}, is {after.get(name, 'absent')}"
            )


def prepare_loop(
    key: Key[Array, ""],
    model: GenerativeModel,
    data: Any,
    first: Mapping[str, Any],
    batch_size: int,
    mesh: Any,
    trained: State | None = None,
) -> Loop:
    """The training of a model, traced for its shapes only.

    Args:
      data: a mapping of arrays to keep on the devices, or anything else for batches from outside.
      first: one batch, for its shapes and for `model.init`.
      trained: a state whose parameters the run starts from, see `start_from`.
    Raises what `model.init` raises for the values of the first batch, and ConfigError when
    `model.step` does not return scalar metrics, gives one a name that the log uses, or returns a
    state of another form than `model.init`.
    """
    key_init, key_order, key_steps = jax.random.split(key, 3)
    first = {name: np.asarray(value) for name, value in first.items()}
    # The batch is no argument: its values stay known, and `model.init` can refuse them.
    shapes_of = lambda batch: jax.eval_shape(lambda key: model.init(key, batch), key_init)
    abstract = shapes_of(first)
    placement = sharding.state_shardings(abstract, mesh)
    template = jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), abstract, placement
    )
    trace = jax.make_jaxpr(model.step, return_shape=True)
    traced, (after, metrics) = trace(key_steps, template, first)
    _check_form(abstract, after)
    if not metrics or any(m.shape != () for m in metrics.values()):
        raise ConfigError("model.step must return a non-empty dict of scalar metrics")
    check_names("model.step", metrics)
    held, batch_at = _feeding(data, key_order, batch_size, mesh)
    copies = sharding.replicated(mesh)
    # Keys are arguments, not constants: another seed finds the compiled program in the cache.
    key_steps = sharding.place(key_steps, copies)
    zero = {name: jnp.zeros((), jnp.float32) for name in metrics}
    clean = sharding.place((zero, jnp.int32(-1)), copies)

    def fresh(state, sums=None):
        """A carry, to be donated."""
        zeros, bad = clean
        sums = jax.tree.map(jnp.copy, zeros) if sums is None else sums
        return state, sums, jnp.copy(bad)

    one = _accumulating(lambda key, state, k, held: model.step(key, state, batch_at(held, k)))
    in_python = _loops_badly(traced, mesh)
    call = _repeated(one, in_python, out_shardings=(placement, copies, copies))

    def compiled() -> Callable:
        number = jnp.int32
        run = call.lower(number(0), number(1), fresh(template), key_steps, held(first)).compile()

        def train(state, step, count, batch=None, sums=None):
            carry, given = fresh(state, sums), held(batch)
            starts = range(step, step + count) if in_python else (step,)
            for k in starts:
                carry = run(number(k), number(count), carry, key_steps, given)
            return carry

        return train

    key_init = sharding.place(key_init, copies)
    initial = jax.jit(model.init, out_shardings=placement)

    def begin() -> State:
        """The state before the first step."""
        state = initial(key_init, first)
        return state if trained is None else sharding.place(start_from(state, trained), placement)

    if trained is not None:
        start_from(template, trained)
    return Loop(template, shapes_of, begin, compiled, frozenset(metrics), model.parameters)
