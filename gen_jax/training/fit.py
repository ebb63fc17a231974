"""The training loop, written once for every `GenerativeModel`.

Step k uses the key fold_in(key, k) and the batch that (key, k) names, so a run resumed at step k
continues bit for bit. Many steps are compiled into one call, which lasts about a second.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from gen_jax.checks import as_arrays, as_key, check_callable, check_path, no_type_check
from gen_jax.data.digest import digest
from gen_jax.data.loader import check_batchable
from gen_jax.errors import ConfigError, check_choice, check_flag, check_range, check_text, shown
from gen_jax.model import GenerativeModel
from gen_jax.training import sharding
from gen_jax.training.batches import Batches
from gen_jax.training.checkpoint import Checkpoints
from gen_jax.training.console import mark
from gen_jax.training.leaves import digest_of_state
from gen_jax.training.loop import prepare_loop
from gen_jax.training.plan import Plan
from gen_jax.training.restoring import identity_in
from gen_jax.training.rundir import open_on_first
from gen_jax.training.session import Session
from gen_jax.training.stopping import StopRequest
from gen_jax.types import Array, Batch, Key, State

Stream = Callable[[int], Iterator[Batch]]
"""`start_step -> iterator of batches`, for data that do not fit in memory."""


MAX_STEPS = 2**31 - 1
"""A step is counted by int32."""


def _identity(
    config: Mapping[str, Any] | None,
    key: Key[Array, ""],
    batches: Batches,
    first: Mapping[str, Any],
    steps: int,
    initial: State | None,
) -> dict:
    """What must not change between the parts of one run; of a stream's data, the first batch."""
    seed = np.asarray(jax.random.key_data(key)).tolist()
    of_stream = {f"first_{name}": values for name, values in first.items()}
    arrays, batch_size = of_stream if batches.streaming else batches.data, batches.batch_size
    digests = {f"data_{name}": digest(np.asarray(values)) for name, values in arrays.items()}
    numbers = {"key": seed, "batch_size": batch_size, "steps": steps}
    if initial is not None:
        digests["initial"] = digest_of_state(initial)
    return {**(config or {}), "fit": {**numbers, **digests}}


def _check_data(data: Any, batch_size: Any) -> Any:
    """The data with arrays as jax takes them. Raises DataError for anything else."""
    if callable(data):
        return data
    data = as_arrays("data", data)
    check_batchable(data, batch_size)
    return data


def _check_model(model: Any) -> None:
    if not isinstance(model, GenerativeModel):
        raise ConfigError(f"model={shown(model)} must be a GenerativeModel")


def _check_hooks(plan: Plan, evaluate: Any, best: Any, on_sample: Any) -> None:
    for name, hook in (("evaluate", evaluate), ("on_sample", on_sample)):
        if hook is not None:
            check_callable(name, hook)
    if (on_sample is None) != (plan.sample_every == 0):
        given = "was given without" if on_sample else "is missing beside"
        raise ConfigError(f"on_sample {given} sample_every (sample_every={plan.sample_every})")
    if best is None:
        return
    if not isinstance(best, tuple | list) or len(best) != 2:
        raise ConfigError(f"best={shown(best)} must be two names, such as ('loss', 'min')")
    check_text("best[0]", best[0])
    check_choice("best[1]", best[1], ("min", "max"))
    if evaluate is None:
        raise ConfigError(f"best={best!r} needs evaluate, which gives {best[0]!r}")


def _check_run(directory: Any, config: Any, allow_changed: Any, renamed: Any, mesh: Any) -> None:
    """Raise ConfigError for what is of the wrong kind."""
    kinds: dict[str, tuple[Any, Any, str]] = {
        "config": (config, Mapping | None, "a mapping of JSON values or None"),
        "allow_changed": (allow_changed, tuple | list | set | frozenset, "a tuple of names"),
        "renamed": (renamed, Mapping, "a mapping of names"),
        "mesh": (mesh, jax.sharding.Mesh | None, "a mesh of `make_mesh` or None"),
    }
    for name, (value, kind, what) in kinds.items():
        if not isinstance(value, kind):
            raise ConfigError(f"{name}={shown(value)} must be {what}")
    if directory is not None:
        check_path("directory", directory)
    for name in allow_changed:
        check_text("allow_changed", name)
    for names in renamed.items():
        for name in names:
            check_text("renamed", name)


def _check(plan: Plan, batch_size: Any, keep: Any) -> None:
    positive = ("steps", "save_every", "log_every")
    for name in positive:
        check_range(name, getattr(plan, name), 1, MAX_STEPS, integer=True)
    check_range("batch_size", batch_size, 1, integer=True)
    check_range("keep", keep, 1, integer=True)
    check_range("sample_every", plan.sample_every, 0, integer=True)
    if plan.steps_per_call is not None:
        check_range("steps_per_call", plan.steps_per_call, 1, integer=True)
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        raise ConfigError(
            "JAX_DISABLE_JIT is set, but training compiles its steps: unset it (and call "
            "model.step itself to look into a step)"
        )


@no_type_check
def fit(
    key: Key[Array, ""],
    model: GenerativeModel,
    data: Mapping[str, Any] | Stream,
    *,
    steps: int,
    batch_size: int,
    initial: State | None = None,
    directory: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    save_every: int = 1000,
    save_minutes: float = 10.0,
    log_every: int = 100,
    keep: int = 3,
    evaluate: Callable[[int, State], dict[str, float]] | None = None,
    best: tuple[str, str] | None = None,
    sample_every: int = 0,
    on_sample: Callable[[int, State], None] | None = None,
    steps_per_call: int | None = None,
    mesh: Any = None,
    fsdp: bool = False,
    progress: bool = True,
    allow_changed: tuple[str, ...] = (),
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> State:
    """Train for `steps` steps and return the state; resume when `directory` holds a checkpoint.

    Args:
      key: of `jax.random`.
      data: {"x": [N, ...], "y": [N]}, kept on the devices as it is, or a `Stream` of batches.
        `model.init` sees examples that the key draws, or the stream's first batch, which must be
        the same when the run is resumed; it refuses the values that the model does not take. The
        rows with the extremes of the arrays, all labels among them, are shown to it as well.
      batch_size: examples of one step, on all devices together; of a stream, those of its batches.
      initial: a trained state whose parameters, averages and buffers the run starts from, with
        fresh moments of the optimizer and fresh entries where it has none; see `start_from`.
      directory: of the run; None keeps nothing.
      config: JSON values that identify the run; another one on resuming is refused, except for
        fields named in `allow_changed` and those that change nothing (`rundir.MAY_CHANGE`).
      renamed: fields of `config` that older runs have by another name: old -> new, with dots.
      steps: more of them continue a run that has ended; a learning rate that falls over a given
        number of steps then is not what it would have been in one long run.
      save_every, log_every, sample_every: in steps; the last step is always saved.
      save_minutes: also save, without `evaluate`, when the last save is this long ago.
      keep: checkpoints kept, besides the best.
      evaluate: `(step, state) -> numbers`, called after each save of `save_every`; `best` names
        one of them and "min" or "max".
      on_sample: `(step, state)`, called every `sample_every` steps; needs it.
      steps_per_call: compiled steps per call; by default as many as take about a second. Always 1
        for a stream. It changes no number.
      mesh, fsdp: see `sharding`; by default all devices.
      progress: whether a banner and a bar (a line now and then, where it is no terminal) are shown.
    Raises ConfigError and DataError for what cannot work, NumericalError for a metric that is not
    finite (never saved), CheckpointError, ResourceError, and Stopped after one of
    `stopping.SIGNALS`. Any other error saves first, unless a compiled step lost the state.

    >>> import jax, jax.numpy as jnp
    >>> from gen_jax import training
    >>> from gen_jax.model import GenerativeModel
    >>> from gen_jax.randomness import normal, sample_keys
    >>> model = GenerativeModel(  # four functions are a model: here the mean of all batches
    ...     init=lambda key, batch: (jnp.zeros(2), 0),
    ...     step=lambda key, state, batch: (
    ...         (state[0] + (batch["x"].mean(0) - state[0]) / (state[1] + 1), state[1] + 1),
    ...         {"loss": ((batch["x"] - state[0]) ** 2).mean()},
    ...     ),
    ...     sample=lambda key, state, n: state[0] + normal(sample_keys(key, n), (2,)),
    ... )
    >>> points = {"x": jnp.full((64, 2), 3.0)}
    >>> mean, count = training.fit(
    ...     jax.random.key(0), model, points, steps=5, batch_size=16, progress=False
    ... )
    >>> mean.tolist(), int(count)
    ([3.0, 3.0], 5)
    """
    key = as_key("key", key)
    _check_model(model)
    check_range("save_minutes", save_minutes, 0, open_low=True)
    plan = Plan(steps, save_every, log_every, sample_every, steps_per_call, 60 * save_minutes)
    _check(plan, batch_size, keep)
    _check_hooks(plan, evaluate, best, on_sample)
    _check_run(directory, config, allow_changed, renamed, mesh)
    check_flag("fsdp", fsdp)
    check_flag("progress", progress)
    data = _check_data(data, batch_size)
    mesh = sharding.mesh_for(batch_size, mesh, fsdp)
    with contextlib.ExitStack() as stack:
        stop = stack.push(StopRequest())  # left last: signals may come until all is closed
        batches = Batches(data, batch_size)
        first, run, checkpoints = batches.first(key), None, None
        if directory is not None:
            identity = _identity(config, key, batches, first, steps, initial)
            run = open_on_first(directory, identity, allow_changed, renamed)
            stack.callback(run.close if run else lambda: None)
            whose = run.identity if run else identity_in(Path(directory))
            checkpoints = Checkpoints(
                Path(directory), keep, best, whose, run.place if run else None
            )
            stack.callback(checkpoints.close)
        mark("start")
        stop.__enter__()
        loop = prepare_loop(key, model, data, first, batch_size, mesh, initial)
        batches.check = loop.check
        batches.check_extremes(first)
        session = Session(plan, run, checkpoints, stop, evaluate, on_sample, progress)
        return session.train(loop, batches, batch_size, mesh)
