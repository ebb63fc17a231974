"""One call of `fit`: what happens between two compiled calls."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gen_jax.errors import ConfigError, GenJaxError, NumericalError, ResourceError, Stopped
from gen_jax.training import sharding
from gen_jax.training.batches import Batches
from gen_jax.training.checkpoint import Checkpoints, damaged_leaves, infinite_leaves
from gen_jax.training.console import Progress, banner, mark, note, warn
from gen_jax.training.loop import Loop
from gen_jax.training.report import write_report
from gen_jax.training.rundir import RunDirectory, mark_done, mark_running
from gen_jax.training.stopping import StopRequest
from gen_jax.types import State

SECONDS_PER_CALL = 1.0


class Plan(NamedTuple):
    """How many steps, and what is due every so many (0: never)."""

    steps: int
    save_every: int
    log_every: int
    sample_every: int
    steps_per_call: int | None
    save_seconds: float

    def next_stop(self, step: int) -> int:
        """The first step after `step` at which something is due."""
        intervals = (self.save_every, self.log_every, self.sample_every)
        return min([self.steps, *((step // n + 1) * n for n in intervals if n)])

    def due(self, step: int, every: int) -> bool:
        return bool(every) and (step % every == 0 or step == self.steps)


class Means:
    """Running means of the metrics since the last line of the log."""

    def __init__(self):
        self.steps, self.sums = 0, {}

    def add(self, count: int, sums: dict[str, float]) -> dict[str, float]:
        self.steps += count
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in sums.items()}
        return {name: value / self.steps for name, value in self.sums.items()}


class Session:
    """The state of the loop on the host.

    `run` and `checkpoints` are None when nothing is kept; `run` is also None on all processes but
    the first. What steers the loop is the same on every process.
    """

    def __init__(
        self,
        plan: Plan,
        run: RunDirectory | None,
        checkpoints: Checkpoints | None,
        stop: StopRequest,
        evaluate: Callable | None,
        on_sample: Callable | None,
        progress: bool,
    ):
        self.plan, self.run, self.checkpoints = plan, run, checkpoints
        self.stop, self.evaluate, self.on_sample = stop, evaluate, on_sample
        self.progress = progress
        self.seconds_per_step = math.inf
        self.last_save = time.monotonic()
        self.may_be_infinite: frozenset[str] = frozenset()
        self.evaluated: tuple[int, dict[str, float]] = (-1, {})

    @property
    def saved(self) -> int | None:
        return self.checkpoints.saved if self.checkpoints else None

    def train(self, loop: Loop, batches: Batches, batch_size: int, mesh: Any) -> State:
        """Train from where the run directory stands to the end of the plan."""
        state, first = self.restore(loop)
        begun = time.perf_counter()
        run = loop.compile() if first < self.plan.steps else None
        if self.progress:
            seconds = time.perf_counter() - begun
            params = loop.parameters(state)
            note(banner(params, mesh, batch_size, first, self.plan.steps, seconds))
        batches.start(first)
        bar = Progress(first, self.plan.steps, self.progress)
        means, begun, step = Means(), time.perf_counter(), first
        while step < self.plan.steps:
            count = self.count(step, batches.streaming)
            state, sums = self.call(run, state, step, count, batches)
            step += count
            shown = means.add(count, sums)
            bar.update(step, shown, self.saved)
            if self.plan.due(step, self.plan.log_every):
                self.log(step, {**shown, "steps_per_second": 1 / self.seconds_per_step})
                means = Means()
            self.at_stop(step, state)
        bar.close()
        self.finish(step, state, time.perf_counter() - begun, step - first)
        return state

    def restore(self, loop: Loop) -> tuple[State, int]:
        """The newest whole checkpoint, or the initial state."""
        found = self.checkpoints.restore(loop.template) if self.checkpoints else None
        state, step = (loop.init(), 0) if found is None else found
        self.may_be_infinite = infinite_leaves(state)
        if self.run is not None:
            if found is None:
                self.run.check_new()
            self.run.truncate_metrics(step)
            mark_running(self.run.path)
        if step > self.plan.steps:
            warn(f"the run is at step {step} already, past steps={self.plan.steps}")
        return state, step

    def count(self, step: int, streaming: bool) -> int:
        """Steps of the next call: up to the next stop, and about a second's worth."""
        wanted = self.plan.steps_per_call
        if streaming:
            wanted = 1
        elif wanted is None:
            wanted = max(int(SECONDS_PER_CALL / self.seconds_per_step), 1)
        wanted = int(sharding.gather(wanted)[0, 0])  # it depends on the clock
        return min(wanted, self.plan.next_stop(step) - step)

    def call(
        self, run: Any, state: State, step: int, count: int, batches: Batches
    ) -> tuple[State, dict[str, float]]:
        """One compiled call. Raises NumericalError when a metric is not finite."""
        begun = time.perf_counter()
        mark("step", step)
        state, sums, bad = run(state, step, count, batches.next(step))
        sums = {name: float(value) for name, value in sums.items()}
        self.seconds_per_step = (time.perf_counter() - begun) / count
        if int(bad) >= 0:
            names = [name for name, value in sums.items() if not np.isfinite(value)]
            self.not_finite(int(bad) + 1, ", ".join(names))
        return state, sums

    def not_finite(self, step: int, what: str) -> None:
        if self.checkpoints:
            self.checkpoints.wait()
        saved = "none" if self.saved is None else f"step {self.saved}"
        raise NumericalError(f"{what} is not finite at step {step}; last good checkpoint: {saved}")

    def log(self, step: int, metrics: dict[str, float]) -> None:
        if self.run is not None:
            self.run.log(step, metrics)

    def at_stop(self, step: int, state: State) -> None:
        """Whatever is due at this step. An error in a hook is raised when the step is saved."""
        late = time.monotonic() - self.last_save > self.plan.save_seconds
        asked, late = np.any(sharding.gather(self.stop.asked, late), axis=0)
        try:
            self.sample(step, state)
            if self.checkpoints and self.plan.due(step, self.plan.save_every):
                self.save(step, state, self.judge(step, state))
        except (NumericalError, ResourceError):
            raise
        except Exception:
            if self.checkpoints and not damaged_leaves(state, self.may_be_infinite):
                self.checkpoints.finish(step, state, {})
            raise
        if self.checkpoints and late and not self.plan.due(step, self.plan.save_every):
            self.check_state(step, state)
            self.save(step, state, {})
        if asked and step < self.plan.steps:
            where = "nothing is kept without a directory"
            if self.checkpoints:
                # Whoever asks gives seconds before the kill: no time for `evaluate`.
                known = self.evaluated[1] if self.evaluated[0] == step else {}
                self.check_state(step, state)
                self.checkpoints.finish(step, state, known)
                where = f"saved in {self.checkpoints.directory}; the same command resumes"
            raise Stopped(f"at step {step} of {self.plan.steps}, {where}")

    def sample(self, step: int, state: State) -> None:
        if self.on_sample and self.plan.sample_every and step % self.plan.sample_every == 0:
            try:
                self.on_sample(step, state)
            except OSError as error:
                warn(f"samples of step {step} were not written ({error}); training goes on")

    def save(self, step: int, state: State, metrics: dict[str, float]) -> None:
        assert self.checkpoints is not None
        self.checkpoints.save(step, state, metrics)
        self.last_save = time.monotonic()

    def check_state(self, step: int, state: State) -> None:
        bad = damaged_leaves(state, self.may_be_infinite)
        if bad:
            self.not_finite(step, f"the state ({', '.join(bad[:3])})")

    def judge(self, step: int, state: State) -> dict[str, float]:
        """The numbers of `evaluate`, logged once per step. Raises if the state is not finite."""
        if self.evaluated[0] == step:
            return self.evaluated[1]
        self.check_state(step, state)
        metrics = dict(self.evaluate(step, state)) if self.evaluate else {}
        rule = self.checkpoints.best_rule if self.checkpoints else None
        if rule is not None and rule[0] not in metrics:
            given = ", ".join(metrics) or "nothing"
            raise ConfigError(f"best={rule!r} is not among what evaluate gives ({given})")
        if metrics:
            self.log(step, metrics)
        self.evaluated = (step, metrics)
        return metrics

    def finish(self, step: int, state: State, seconds: float, done: int) -> None:
        """Make the last step durable, then report."""
        if self.checkpoints is None:
            return
        if done:
            self.checkpoints.finish(step, state, self.judge(step, state))
        if self.run is None:
            return
        if done:
            rate = round(done / seconds, 3)
            numbers = {"step": step, "seconds": round(seconds, 2), "steps_per_second": rate}
            try:
                write_report(self.run.path, numbers)
            except (OSError, GenJaxError) as error:
                warn(f"the run is saved, its report is not ({error})")
        try:
            mark_done(self.run.path, step)
        except OSError as error:
            raise ResourceError(f"{self.run.path}: DONE cannot be written ({error})") from error
