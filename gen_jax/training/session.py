"""One call of `fit`: what happens between two compiled calls."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gen_jax.errors import (
    CheckpointError,
    ConfigError,
    GenJaxError,
    NumericalError,
    ResourceError,
    Stopped,
)
from gen_jax.training import sharding
from gen_jax.training.batches import Batches
from gen_jax.training.checkpoint import Checkpoints
from gen_jax.training.console import Progress, banner, mark, note, warn
from gen_jax.training.cost import Cost
from gen_jax.training.identity import CONFIG
from gen_jax.training.leaves import damaged_leaves, infinite_leaves, is_deleted
from gen_jax.training.loop import Loop
from gen_jax.training.numbers import real_numbers
from gen_jax.training.report import write_report
from gen_jax.training.rundir import RunDirectory
from gen_jax.training.stopping import StopRequest
from gen_jax.types import State

SECONDS_PER_CALL, WATCH_SECONDS = 1.0, 0.1


class Moved(CheckpointError):
    """The run directory is no longer where it was."""


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
    """Means of the metrics since the last line of the log.

    The sums grow step by step on the devices and are saved with the state, so that a line does not
    depend on how the steps were cut into calls, nor on a stop between two lines.
    """

    def __init__(self, since: int, sums: Any = None):
        self.since, self.sums = since, sums
        self.values: dict[str, float] = {}

    @classmethod
    def of(cls, record: Any, step: int, names: frozenset[str], mesh: Any) -> "Means":
        """From what `record` gave when the step was saved; empty where it does not fit."""
        sums = record["sums"] if record else {}
        if sums.keys() != names or None in sums.values():
            return cls(step)
        numbers = {name: np.float32(value) for name, value in sums.items()}
        means = cls(record["since"], sharding.place(numbers, sharding.replicated(mesh)))
        means.values = sums
        return means

    def record(self) -> dict[str, Any]:
        return {"since": self.since, "sums": self.values}

    def at(self, step: int) -> dict[str, float]:
        return {name: value / (step - self.since) for name, value in self.values.items()}


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
        self.plan, self.run, self.checkpoints, self.progress = plan, run, checkpoints, progress
        self.stop, self.evaluate, self.on_sample = stop, evaluate, on_sample
        self.seconds_per_step, self.last_save, self.cost = math.inf, time.monotonic(), Cost()
        self.may_be_infinite: frozenset[str] = frozenset()
        self.evaluated: tuple[int, dict[str, float]] = (-1, {})
        self.means, self.in_hook = Means(0), False

    @property
    def saved(self) -> int | None:
        return self.checkpoints.saved if self.checkpoints else None

    def train(self, loop: Loop, batches: Batches, batch_size: int, mesh: Any) -> State:
        """Train from where the run directory stands to the end of the plan."""
        state, first = self.restore(loop, mesh)
        begun = time.perf_counter()
        run = loop.compile() if first < self.plan.steps else None
        if self.progress:
            seconds = time.perf_counter() - begun
            params = loop.parameters(state)
            note(banner(params, mesh, batch_size, first, self.plan.steps, seconds))
        batches.start(first)
        bar = Progress(first, self.plan.steps, self.progress)
        begun, step = time.perf_counter(), first
        self.judge_late(step, state)
        try:
            while step < self.plan.steps:
                count = self.count(step, batches.streaming)
                batch = batches.next(step)
                state, shown = self.call(run, state, step, count, batch)
                step += count
                bar.update(step, shown, self.saved)
                self.at_stop(step, state, shown)
        except BaseException as error:
            self.rescue(step, state, error)
            raise
        finally:
            bar.close()
        self.finish(step, state, time.perf_counter() - begun, step - first)
        return state

    def restore(self, loop: Loop, mesh: Any) -> tuple[State, int]:
        """The newest whole checkpoint, or the initial state."""
        found = self.checkpoints.restore(loop.template) if self.checkpoints else None
        state, step = (loop.init(), 0) if found is None else found
        self.may_be_infinite = infinite_leaves(state)
        self.means, self.evaluated = Means(step), (step, {})
        if self.checkpoints and found is not None:
            manifest, numbers = self.checkpoints.restored
            self.means = Means.of(manifest.get("log"), step, loop.metrics, mesh)
            if manifest.get("evaluated_later") and numbers is None:
                self.evaluated = (-1, {})
        if self.run is not None:
            if found is None:
                self.run.check_new()
            self.run.truncate_metrics(step)
            self.run.mark_running()
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
        self, run: Any, state: State, step: int, count: int, batch: Any
    ) -> tuple[State, dict[str, float]]:
        """One compiled call: the state, and the means since the last line of the log.

        Raises NumericalError when a metric is not finite.
        """
        begun = time.perf_counter()
        mark("step", step)
        state, sums, bad = run(state, step, count, batch, self.means.sums)
        values = {name: float(value) for name, value in sums.items()}
        self.seconds_per_step = (time.perf_counter() - begun) / count
        if int(bad) >= 0:
            names = [name for name, value in values.items() if not np.isfinite(value)]
            self.not_finite(int(bad) + 1, ", ".join(names))
        self.means.sums, self.means.values = sums, values
        return state, self.means.at(step + count)

    def not_finite(self, step: int, what: str) -> None:
        if self.checkpoints:
            self.checkpoints.wait()
        saved = "none" if self.saved is None else f"step {self.saved}"
        raise NumericalError(f"{what} is not finite at step {step}; last good checkpoint: {saved}")

    def log(self, step: int, metrics: dict[str, float]) -> None:
        if self.run is not None:
            self.run.log(step, metrics)

    def at_stop(self, step: int, state: State, shown: dict[str, float]) -> None:
        """Whatever is due at this step; the state is saved first, for hooks take long, or break.

        An error in a hook is raised when the step is saved.
        """
        saves = self.plan.due(step, self.plan.save_every)
        logs = self.plan.due(step, self.plan.log_every)
        samples = bool(self.on_sample and self.plan.sample_every) and (
            step % self.plan.sample_every == 0
        )
        late = time.monotonic() - self.last_save > self.plan.save_seconds
        asked, late = self.look(step, state, late, saves or logs or samples)
        if logs:
            self.log(step, {**shown, "steps_per_second": 1 / self.seconds_per_step})
            self.means = Means(step)
        if self.checkpoints and (saves or late or asked):
            self.save(step, state, later=saves and self.evaluate is not None)
        if not asked and samples:
            self.sample(step, state)
            asked = self.look(step, state)[0]
        if not asked and saves and self.checkpoints and self.evaluate:
            self.judge(step, state)
            asked = self.look(step, state)[0]
        if asked and (self.checkpoints or step < self.plan.steps):
            self.leave(step, state)

    def look(
        self, step: int, state: State, late: bool = False, due: bool = True
    ) -> tuple[bool, bool]:
        """Whether a stop was asked for, and whether a save is late, on any process.

        When something is to be written and the directory was moved, or its config.json replaced,
        this is the end of the run.
        """
        place = self.run.place if self.run and (due or late or self.stop.asked) else None
        moved = place is not None and not place.in_place()
        other = place is not None and not place.has_config()
        flags = sharding.gather(self.stop.asked, late, moved, other)
        asked, late, moved, other = np.any(flags, axis=0)
        if moved:
            self.leave_moved(step, state)
        if other:
            self.leave_config(step, state)
        return bool(asked), bool(late)

    def leave(self, step: int, state: State) -> None:
        """Save, unless that was done, and end. Raises Stopped."""
        where = "nothing is kept without a directory"
        if self.checkpoints:
            self.keep(step, state)
            where = f"saved in {self.checkpoints.directory}; the same command resumes"
        raise Stopped(f"at step {step} of {self.plan.steps}, {where}")

    def leave_moved(self, step: int, state: State) -> None:
        """Save where the directory is now, and end: what hooks write by name would go elsewhere.

        Raises Moved.
        """
        place = self.run.place if self.run else None
        found = place.found() if place else None
        old = self.checkpoints.directory if self.checkpoints else None
        if found is None:
            raise Moved(
                f"{old} is no longer the directory of this run: it was removed, replaced or moved "
                f"away (last save: step {self.saved})"
            )
        self.keep(step, state)
        raise Moved(
            f"{old} was moved to {found} while the run was under way; it ends at step {step}, "
            f"saved there: directory={str(found)!r} goes on"
        )

    def leave_config(self, step: int, state: State) -> None:
        """Save and end: no reader takes the steps of this run for those of another config.json.

        Raises Moved.
        """
        self.keep(step, state)
        assert self.checkpoints is not None
        raise Moved(
            f"{self.checkpoints.directory / CONFIG} was removed or replaced while the run was "
            f"under way; it ends at step {step}, which is saved: put the old one back to go on"
        )

    def rescue(self, step: int, state: State, error: BaseException) -> None:
        """Save what an error would lose, unless the state is damaged or was given away."""
        handled = (NumericalError, ResourceError, Stopped, Moved)
        together = sharding.is_alone() or self.in_hook
        if self.checkpoints is None or isinstance(error, handled) or not together:
            return
        if is_deleted(state) or damaged_leaves(state, self.may_be_infinite):
            return
        try:
            self.checkpoints.finish(step, state, {}, log=self.means.record())
        except (GenJaxError, OSError) as another:
            warn(f"the state of step {step} could not be saved ({another})")

    def sample(self, step: int, state: State) -> None:
        assert self.on_sample is not None
        self.in_hook = True
        try:
            with self.saving_when_asked(step, state):
                self.on_sample(step, state)
        except OSError as error:
            warn(f"samples of step {step} were not written ({error}); training goes on")
        self.in_hook = False

    @contextlib.contextmanager
    def saving_when_asked(self, step: int, state: State) -> Iterator[None]:
        """While a hook runs, a request to stop saves at once: whoever asks gives seconds."""
        ended = threading.Event()

        def watch():
            while not ended.wait(WATCH_SECONDS):
                if self.stop.asked:
                    with contextlib.suppress(GenJaxError, OSError):  # tried again after the hook
                        self.keep(step, state)
                    return

        if self.checkpoints is None or not sharding.is_alone():
            yield
            return
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def save(self, step: int, state: State, later: bool) -> None:
        """Start saving; `later`: `evaluate` is called after it."""
        assert self.checkpoints is not None
        if step != self.saved:
            self.check_state(step, state)
        further = {"log": self.means.record(), "evaluated_later": later}
        self.checkpoints.save(step, state, {}, **further)
        self.last_save = time.monotonic()

    def keep(self, step: int, state: State) -> None:
        """Make the state of this step durable. Raises NumericalError, ResourceError."""
        assert self.checkpoints is not None
        self.checkpoints.wait()
        if self.saved != step:
            self.check_state(step, state)
            self.checkpoints.finish(step, state, {}, log=self.means.record())

    def check_state(self, step: int, state: State) -> None:
        bad = damaged_leaves(state, self.may_be_infinite)
        if bad:
            self.not_finite(step, f"the state ({', '.join(bad[:3])})")

    def judge(self, step: int, state: State) -> None:
        """The numbers of `evaluate`, logged and written beside the step that was saved."""
        assert self.evaluate is not None
        assert self.checkpoints is not None
        self.in_hook = True
        metrics = real_numbers("evaluate", self.evaluate(step, state))
        rule = self.checkpoints.best_rule
        if rule is not None and rule[0] not in metrics:
            given = ", ".join(metrics) or "nothing"
            raise ConfigError(f"best={rule!r} is not among what evaluate gives ({given})")
        self.in_hook, self.evaluated = False, (step, metrics)
        self.checkpoints.add(step, metrics)
        if metrics:
            self.log(step, metrics)

    def judge_late(self, step: int, state: State) -> None:
        """Evaluate the step that was restored, when its process ended before that was done."""
        late = self.evaluate is not None and self.evaluated[0] != step
        if self.checkpoints and sharding.decided_by_first(lambda: int(late)):
            if self.look(step, state)[0]:
                self.leave(step, state)
            self.judge(step, state)

    def finish(self, step: int, state: State, seconds: float, done: int) -> None:
        """Make the last step durable, then report."""
        if self.checkpoints is None:
            return
        if done:
            self.checkpoints.wait()
            again = self.saved != step
            self.keep(step, state)
            if again and self.evaluated[0] == step:
                self.checkpoints.add(step, self.evaluated[1])
        self.checkpoints.wait()
        self.look(step, state)
        if self.run is not None:
            numbers: dict[str, float] = {"step": step}
            if done:
                numbers |= {"steps_here": done, "seconds": round(seconds, 2)}
                numbers |= {"steps_per_second": round(done / seconds, 3), **self.cost.numbers()}
            if done or not self.run.has_report():
                self.run.write_report(write_report, numbers)
            self.run.mark_done(step)
        if self.look(step, state)[0]:
            self.leave(step, state)
