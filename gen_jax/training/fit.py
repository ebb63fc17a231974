"""The training loop, written once for every `GenerativeModel`.

Step k uses the key fold_in(key, k) and the batch that (key, k) names, so a run resumed at step k
continues bit for bit. Many steps are compiled into one call, which lasts about a second.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.loader import batch_indices, check_batchable, take
from gen_jax.errors import ConfigError, NumericalError, Stopped, check_range
from gen_jax.model import GenerativeModel
from gen_jax.training import sharding
from gen_jax.training.checkpoint import Checkpoints, is_finite, restore_state, set_aside
from gen_jax.training.console import Progress, banner, mark, note
from gen_jax.training.report import write_report
from gen_jax.training.rundir import RunDirectory, mark_done, mark_running
from gen_jax.types import Array, Batch, Key, State

Stream = Callable[[int], Iterator[Batch]]
"""`start_step -> iterator of batches`, for data that do not fit in memory."""

SECONDS_PER_CALL = 1.0


class StopRequest:
    """SIGTERM and SIGINT ask a run to save and stop; a second one ends it at once."""

    def __init__(self):
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number, frame):
        self.asked = True
        signal.signal(number, signal.SIG_DFL)

    def __exit__(self, *error):
        for number, handler in self._old.items():
            signal.signal(number, handler)


class Loop(NamedTuple):
    """The compiled part: `run(state, start, count) -> (state, sums, first bad step)`."""

    run: Callable
    state: State
    mesh: Any
    compile_seconds: float


def _accumulated(step_at: Callable, state: State, start: Array, count: Array, zero: dict) -> tuple:
    """`count` steps from `start`: the state, summed metrics, the first step not finite or -1."""

    def body(k, carry):
        state, sums, bad = carry
        state, metrics = step_at(state, k)
        metrics = {name: value.astype(jnp.float32) for name, value in metrics.items()}
        finite = jnp.all(jnp.stack([jnp.isfinite(value) for value in metrics.values()]))
        bad = jnp.where((bad < 0) & ~finite, k, bad)
        return state, jax.tree.map(jnp.add, sums, metrics), bad

    return jax.lax.fori_loop(start, start + count, body, (state, zero, jnp.int32(-1)))


def _place(data: Mapping[str, Any], mesh: Any) -> dict[str, Array]:
    """The whole dataset on every device, in its own dtype."""
    return jax.device_put(
        {name: np.asarray(v) for name, v in data.items()}, sharding.replicated(mesh)
    )


def _prepare(key, model, data, batch_size, mesh, first_batch) -> Loop:
    """Initial state, placed, and the compiled call."""
    key_init, key_order, key_steps = jax.random.split(key, 3)
    example = {name: jnp.asarray(value) for name, value in first_batch.items()}
    abstract = jax.eval_shape(model.init, key_init, example)
    placement = sharding.state_shardings(abstract, mesh)
    state = jax.jit(model.init, out_shardings=placement)(key_init, example)
    rows, copies = sharding.batch_sharding(mesh), sharding.replicated(mesh)
    metric_shapes = jax.eval_shape(model.step, key_steps, abstract, example)[1]
    if not metric_shapes or any(m.shape != () for m in metric_shapes.values()):
        raise ConfigError("model.step must return a non-empty dict of scalar metrics")
    zero = {name: jnp.zeros((), jnp.float32) for name in metric_shapes}

    def step_on(state, k, batch):
        return model.step(jax.random.fold_in(key_steps, k), state, batch)

    if isinstance(data, Mapping):
        placed = _place(data, mesh)
        size = len(placed["x"])

        def call(state, start, count, data):
            def step_at(state, k):
                batch = take(data, batch_indices(key_order, k, size, batch_size))
                batch = jax.lax.with_sharding_constraint(batch, rows)
                return step_on(state, k, batch)

            return _accumulated(step_at, state, start, count, zero)

        extra = placed
    else:

        def call(state, start, count, batch):
            step_at = lambda state, k: step_on(state, k, batch)
            return _accumulated(step_at, state, start, count, zero)

        extra = sharding.shard_batch(first_batch, mesh)
    begun = time.perf_counter()
    outputs = (placement, copies, copies)
    compiled = jax.jit(call, donate_argnums=0, out_shardings=outputs)
    compiled = compiled.lower(state, jnp.int32(0), jnp.int32(1), extra).compile()
    seconds = time.perf_counter() - begun
    if isinstance(data, Mapping):
        run = lambda state, start, count, _: compiled(
            state, jnp.int32(start), jnp.int32(count), extra
        )
    else:
        run = lambda state, start, count, batch: compiled(
            state, jnp.int32(start), jnp.int32(1), sharding.shard_batch(batch, mesh)
        )
    return Loop(run, state, mesh, seconds)


def _next_stop(step: int, steps: int, *intervals: int) -> int:
    """The first step after `step` at which something is due."""
    return min([steps, *((step // n + 1) * n for n in intervals if n)])


def _identity(config: Mapping[str, Any] | None, key: Key[Array, ""], batch_size: int) -> dict:
    """What must not change between the parts of one run."""
    seed = np.asarray(jax.random.key_data(key)).tolist()
    return {**(config or {}), "fit": {"key": seed, "batch_size": batch_size}}


def fit(
    key: Key[Array, ""],
    model: GenerativeModel,
    data: Mapping[str, Any] | Stream,
    *,
    steps: int,
    batch_size: int,
    directory: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    save_every: int = 1000,
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
) -> State:
    """Train for `steps` steps and return the state; resume when `directory` holds a checkpoint.

    Args:
      data: {"x": [N, ...], "y": [N]}, kept on the devices as it is, or a `Stream` of batches.
      directory: of the run; None keeps nothing.
      config: JSON values that identify the run; another one on resuming is refused, except for
        fields named in `allow_changed` and those that change nothing (`rundir.MAY_CHANGE`).
      save_every, log_every, sample_every: in steps; the last step is always saved.
      keep: checkpoints kept, besides the best.
      evaluate: `(step, state) -> numbers`, called before each save; `best` names one of them and
        "min" or "max".
      on_sample: `(step, state)`, called every `sample_every` steps.
      steps_per_call: compiled steps per call; by default as many as take about a second.
      mesh, fsdp: see `sharding`.
    Raises ConfigError and DataError for what cannot work, NumericalError for a metric that is not
    finite (never saved), CheckpointError, ResourceError, and Stopped after SIGTERM or SIGINT.
    """
    for name, value in (("steps", steps), ("save_every", save_every), ("log_every", log_every)):
        check_range(name, value, 1, integer=True)
    check_range("keep", keep, 1, integer=True)
    if isinstance(data, Mapping):
        check_batchable(data, batch_size)
    mesh = sharding.mesh_for(batch_size, mesh, fsdp)
    run = None
    if directory is not None:
        run = RunDirectory(directory, _identity(config, key, batch_size), allow_changed)
    mark("start")
    try:
        with StopRequest() as stop:
            session = _Session(model, run, steps, keep, best, evaluate, stop, progress)
            return session.train(
                key,
                data,
                batch_size,
                mesh,
                (save_every if run else 0, log_every, sample_every if on_sample else 0),
                on_sample,
                steps_per_call,
            )
    finally:
        if run is not None:
            run.close()


class _Session:
    """One call of `fit`: what the loop needs at its stops."""

    def __init__(self, model, run, steps, keep, best, evaluate, stop, progress):
        self.model, self.run, self.steps = model, run, steps
        self.evaluate, self.stop, self.progress = evaluate, stop, progress
        self.checkpoints = Checkpoints(run.path, keep, best) if run else None

    def restore(self, state: State) -> tuple[State, int]:
        """The newest whole checkpoint, or the initial state."""
        folder = self.checkpoints.folder if self.checkpoints else None
        if folder is None or not any(folder.iterdir()):
            return state, 0
        state, step = restore_state(self.run.path, state, on_damage=set_aside)
        self.run.truncate_metrics(step)
        self.checkpoints.saved = step
        return state, step

    def train(self, key, data, batch_size, mesh, intervals, on_sample, steps_per_call) -> State:
        streaming = not isinstance(data, Mapping)
        first = (
            next(data(0)) if streaming else {n: np.asarray(v)[:batch_size] for n, v in data.items()}
        )
        loop = _prepare(key, self.model, data, batch_size, mesh, first)
        state, step = self.restore(loop.state)
        if self.run is not None:
            mark_running(self.run.path)
        if self.progress:
            note(banner(state, mesh, batch_size, step, self.steps, loop.compile_seconds))
        batches = data(step) if streaming else None
        bar = Progress(step, self.steps, self.progress)
        started, first_step, seconds_per_step = time.perf_counter(), step, None
        save_every, log_every, sample_every = intervals
        totals: dict[str, float] = {}
        since = step
        while step < self.steps:
            count = min(
                _next_stop(step, self.steps, *intervals) - step,
                1 if streaming else steps_per_call or _per_call(seconds_per_step),
            )
            begun = time.perf_counter()
            mark("step", step)
            batch = next(batches) if streaming else None
            state, sums, bad = loop.run(state, step, count, batch)
            sums = {name: float(value) for name, value in sums.items()}
            seconds_per_step = (time.perf_counter() - begun) / count
            if int(bad) >= 0:
                self.not_finite(int(bad), sums)
            step += count
            totals = {name: totals.get(name, 0.0) + value for name, value in sums.items()}
            means = {name: value / (step - since) for name, value in totals.items()}
            bar.update(step, means, self.checkpoints.saved if self.checkpoints else None)
            if step % log_every == 0 or step == self.steps:
                self.log(step, {**means, "steps_per_second": 1 / seconds_per_step})
                totals, since = {}, step
            if sample_every and step % sample_every == 0:
                on_sample(step, state)
            if self.checkpoints and (step == self.steps or step % save_every == 0):
                self.save(step, state)
            if self.stop.asked and step < self.steps:
                self.stop_here(step, state)
        bar.close()
        self.finish(step, state, time.perf_counter() - started, step - first_step)
        return state

    def log(self, step: int, metrics: dict[str, float]) -> None:
        if self.run is not None:
            self.run.log(step, metrics)

    def not_finite(self, step: int, sums: dict[str, float]) -> None:
        names = [name for name, value in sums.items() if not np.isfinite(value)]
        if self.checkpoints:
            self.checkpoints.wait()
        saved = self.checkpoints.saved if self.checkpoints else None
        raise NumericalError(
            f"{', '.join(names) or 'a metric'} is not finite at step {step + 1}; "
            f"last good checkpoint: {'none' if saved is None else f'step {saved}'}"
        )

    def save(self, step: int, state: State) -> None:
        if not is_finite(state):
            self.not_finite(step - 1, {"the state": float("nan")})
        metrics = self.evaluate(step, state) if self.evaluate else {}
        if metrics:
            self.log(step, metrics)
        self.checkpoints.save(step, state, metrics)

    def stop_here(self, step: int, state: State) -> None:
        where = "nothing is kept without a directory"
        if self.checkpoints:
            self.save(step, state)
            self.checkpoints.wait()
            where = f"saved in {self.run.path}; the same command resumes"
        raise Stopped(f"at step {step} of {self.steps}, {where}")

    def finish(self, step: int, state: State, seconds: float, done: int) -> None:
        """Wait for the last save, then report."""
        if self.run is None:
            return
        self.checkpoints.wait()
        if self.checkpoints.saved != step and self.checkpoints.failures:
            self.checkpoints.save(step, state, {})
            self.checkpoints.wait()
        numbers = {"step": step}
        if done:
            numbers |= {"seconds": round(seconds, 2), "steps_per_second": round(done / seconds, 3)}
            write_report(self.run.path, numbers)
        mark_done(self.run.path, step)


def _per_call(seconds_per_step: float | None) -> int:
    """Steps that take about a second; one to begin with."""
    return 1 if seconds_per_step is None else max(int(SECONDS_PER_CALL / seconds_per_step), 1)
