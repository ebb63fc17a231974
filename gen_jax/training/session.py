"""One call of `fit`: what happens between two compiled calls."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gen_jax.errors import ConfigError, GenJaxError
from gen_jax.training import sharding
from gen_jax.training.batches import Batches
from gen_jax.training.checkpoint import Checkpoints
from gen_jax.training.console import Progress, banner, mark, note, warn
from gen_jax.training.cost import Cost
from gen_jax.training.leaves import infinite_leaves
from gen_jax.training.loop import Loop
from gen_jax.training.numbers import real_numbers
from gen_jax.training.plan import Means, Plan
from gen_jax.training.report import write_report
from gen_jax.training.rundir import RunDirectory
from gen_jax.training.saving import Saving
from gen_jax.training.stopping import StopRequest
from gen_jax.types import State

SECONDS_PER_CALL, WATCH_SECONDS = 1.0, 0.1


class Session(Saving):
    """The state of the loop on the host."""

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
        super().__init__(plan, run, checkpoints, stop)
        self.evaluate, self.on_sample = evaluate, on_sample
        self.progress = progress
        self.seconds_per_step, self.cost = math.inf, Cost()
        self.evaluated: tuple[int, dict[str, float]] = (-1, {})

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

    def sample(self, step: int, state: State) -> None:
        assert self.on_sample is not None
        self.in_hook = True
        try:
            with self.saving_when_asked(step, state):
                self.on_sample(step, state)
            if self.run is not None:
                self.run.show_samples(step)
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
