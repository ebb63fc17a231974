"""Checkpoints that are whole or are not used: a thin wrapper around Orbax.

Orbax writes the arrays. What is added: a manifest with the SHA-256 of every file and of itself; a
step that gets its name, by one rename, only when everything in it is durable; verification before
anything is restored, with a fall-back to the newest step that verifies; an error, not a cast, when
shapes or dtypes differ.

    checkpoints/STEP/state/...         the arrays, by Orbax
    checkpoints/STEP/manifest.json     step, run, digest of config.json, metrics, leaves, files
    checkpoints/STEP/numbers.json      what `evaluate` gave, which is called after the step is saved
    checkpoints/STEP.damaged           a step that did not verify, kept for inspection
    checkpoints/saving-*, trash-*      a save or a removal under way; cleaned up at the next start
"""

import contextlib
import logging
import math
import shutil
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from gen_jax.errors import CheckpointError, ResourceError
from gen_jax.training import sharding
from gen_jax.training.console import mark, warn
from gen_jax.training.files import plain
from gen_jax.training.identity import Identity
from gen_jax.training.leaves import describe, plain_leaf
from gen_jax.training.manifest import read_manifest, read_numbers, write_manifest, write_numbers
from gen_jax.training.place import Place
from gen_jax.training.restoring import load, newest_whole, restore_state, saved_steps
from gen_jax.types import State
from gen_jax.writing import sync

__all__ = ["Checkpoints", "restore_state", "saved_steps"]

SAVING, TRASH = "saving-", "trash-"
MAX_FAILURES = 3


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not the stack traces of what Orbax also raises: a failed save is one warning line here.

    Orbax logs some itself, and leaves others in futures that asyncio reports when they are
    collected, which may be after the last line of the run.
    """
    if record.levelno < logging.ERROR:
        return True
    trace = record.exc_info[2] if record.exc_info else None
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(trace)]
    return not any("orbax" in Path(file).parts for file in (record.pathname, *files))


for _logger in ("absl", "asyncio"):
    logging.getLogger(_logger).addFilter(_is_worth_a_line)


def set_aside(folder: Path) -> None:
    """Rename a damaged step, which is never deleted."""
    target, number = folder.with_name(f"{folder.name}.damaged"), 1
    while target.exists():
        target, number = folder.with_name(f"{folder.name}.damaged-{number}"), number + 1
    folder.rename(target)


class Checkpoints:
    """Saves steps of one run in the background and keeps the last `keep` and the best.

    `saved` is the newest durable step; `restored` holds the manifest of the one that was restored,
    and what `evaluate` gave. Of several processes, which must share the file system and
    call every method together, all write their part of the arrays, and wait for each other;
    process 0 does the rest and decides what was saved.
    """

    def __init__(
        self,
        directory: Path,
        keep: int,
        best: tuple[str, str] | None = None,
        identity: Identity | None = None,
        place: Place | None = None,
    ):
        """Clean up what was cut short.

        Args:
          identity: of the run; None in a directory that holds checkpoints alone.
          place: the open run directory, which is written to wherever it is moved.
        """
        self.directory = Path(directory).absolute()
        self.folder = self.directory / "checkpoints"
        self.keep, self.best_rule = keep, best
        self.identity, self.place = identity, place
        self.best: tuple[int, float] | None = None
        self.saved: int | None = None
        self.restored: tuple[dict[str, Any], dict[str, Any] | None] = ({}, None)
        self.failures = 0
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._where = place.held / "checkpoints" if place else self.folder
        if sharding.is_first():
            self._where.mkdir(parents=True, exist_ok=True)
            for path in self._where.iterdir():
                if path.name.startswith((SAVING, TRASH)):
                    shutil.rmtree(path, ignore_errors=True)

    def restore(self, template: State) -> tuple[State, int] | None:
        """The newest whole checkpoint and its step, or None in a run that has none yet.

        Raises CheckpointError when there are only damaged ones: never a silent restart.
        """
        newest = sharding.decided_by_first(self._newest)
        if newest < 0:
            return None
        state, self.saved = load(self.folder / str(newest), template), newest
        for step in saved_steps(self.directory):
            with contextlib.suppress(CheckpointError):
                manifest, numbers = self._known(step)
                self.best = self._better(step, (numbers or manifest)["metrics"])
                self.restored = manifest, numbers
        return state, self.saved

    def _known(self, step: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The manifest of a step, and what `evaluate` gave if that is whole."""
        folder = self.folder / str(step)
        manifest = read_manifest(folder, self.identity)
        try:
            return manifest, read_numbers(folder, self.identity)
        except CheckpointError as error:
            warn(f"{error}; the step counts as not evaluated")
            return manifest, None

    def _newest(self) -> int:
        """The step to resume from, or -1 in a run that has none yet."""
        steps = saved_steps(self.directory)
        if steps:
            return newest_whole(self.directory, steps, self.identity, set_aside)
        damaged = sorted(path.name for path in self.folder.glob("*.damaged*"))
        if damaged:
            raise CheckpointError(
                f"{self.folder} holds only damaged checkpoints ({', '.join(damaged)}); "
                "choose another directory, or remove them to start again"
            )
        return -1

    def _better(self, step: int, metrics: dict[str, Any]) -> tuple[int, float] | None:
        """The best step so far and its value, given one more."""
        name, direction = self.best_rule or ("", "min")
        value = metrics.get(name)
        if value is None or not math.isfinite(value):
            return self.best
        sign = 1 if direction == "min" else -1
        if self.best is None or sign * value < sign * self.best[1]:
            return step, float(value)
        return self.best

    def save(self, step: int, state: State, metrics: dict[str, float], **further: Any) -> None:
        """Start saving; the state may be donated as soon as this returns.

        `further` is JSON that the manifest holds as well.
        """
        self.wait()
        if step == self.saved:
            return
        # A copy, because on the CPU Orbax would read the very buffers that the next step donates
        # (and the data of a key share its buffer).
        data = jax.block_until_ready(jax.tree.map(lambda x: jnp.copy(plain_leaf(x)), state))
        content = {"metrics": plain(metrics), "leaves": describe(state), **further}
        mark("save", step)
        self._start(self._write, step, data, {**self._whose(step), **content})

    def add(self, step: int, metrics: dict[str, float]) -> None:
        """Write what `evaluate` gave for a step beside it, as soon as it is durable."""
        self._start(self._write_numbers, self._thread, step, metrics)

    def _start(self, work: Callable, *args: Any) -> None:
        self._thread = threading.Thread(target=work, args=args)
        self._thread.start()
        if not sharding.is_alone():  # Orbax waits by collectives, which have to keep their order
            self._thread.join()

    def _whose(self, step: int) -> dict[str, Any]:
        """The step and, in a run, its identity: what every reader compares."""
        if self.identity is None or self.identity.run is None:
            return {"step": step}
        return {"step": step, "run": self.identity.run, "config": self.identity.configs[0]}

    def finish(self, step: int, state: State, metrics: dict[str, float], **further: Any) -> None:
        """Save and wait until it is durable. Raises ResourceError after three failures."""
        self.wait()  # now `saved` is the same in all processes
        while self.saved != step:
            self.save(step, state, metrics, **further)
            self.wait()

    def _write(self, step: int, data: State, content: dict[str, Any]) -> None:
        saving = self._where / f"{SAVING}{step}"
        try:
            best = self._better(step, content["metrics"])
            if sharding.is_first():
                self._check_place()
                saving.mkdir()
            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(saving / "state", data)
                checkpointer.wait_until_finished()
            if not sharding.is_first():
                return
            mark("commit", step)
            self._check_place()
            write_manifest(saving, {**content, "best": best and best[0]})
            for path in (*saving.rglob("*"), saving):
                sync(path)
            saving.rename(self._where / str(step))
            sync(self._where)
        except Exception as error:
            shutil.rmtree(saving, ignore_errors=True)
            self.failures, self._error = self.failures + 1, error
            return
        self.saved, self.failures, self.best = step, 0, best
        mark("saved", step)
        self._clean()

    def _check_place(self) -> None:
        """Raise where another run has the directory, or its name and with it what is written."""
        if self.place is not None and not self.place.is_ours():
            raise CheckpointError(f"{self.directory} is no longer the directory of this run")

    def _write_numbers(
        self, saving: threading.Thread | None, step: int, metrics: dict[str, float]
    ) -> None:
        if saving is not None:
            saving.join()
        if self.saved != step or not sharding.is_first():
            return  # the save failed, and says so itself
        best = self._better(step, metrics)
        numbers = {**self._whose(step), "metrics": metrics, "best": best and best[0]}
        try:
            self._check_place()
            write_numbers(self._where / str(step), numbers)
        except (OSError, CheckpointError) as error:
            warn(f"the numbers of step {step} could not be written ({error})")
            return
        self.best = best
        mark("numbers", step)
        self._clean()

    def _clean(self) -> None:
        """Remove old steps of this run; what is not of this run, or newer, is left alone."""
        steps = [step for step in saved_steps(self._where.parent) if self._is_own(step)]
        keep = set(steps[-self.keep :]) | ({self.best[0]} if self.best else set())
        for step in steps:
            if step not in keep:
                mark("clean", step)
                # First out of sight in one rename, so that a kill leaves no half step behind.
                trash = self._where / f"{TRASH}{step}"
                try:
                    (self._where / str(step)).rename(trash)
                except OSError as error:
                    warn(f"the old step {step} could not be removed ({error.strerror})")
                shutil.rmtree(trash, ignore_errors=True)

    def _is_own(self, step: int) -> bool:
        if step > (self.saved or 0):
            return False
        try:
            read_manifest(self._where / str(step), self.identity)
        except CheckpointError:
            return False
        return True

    def close(self) -> None:
        """Let a save under way end; what becomes of it is not reported."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def wait(self) -> None:
        """Wait until the save under way is durable; warn when it failed.

        Raises ResourceError when saving failed three times in a row.
        """
        was_saving = self._thread is not None
        self.close()
        error, self._error = self._error, None
        if was_saving and not sharding.is_alone():
            saved, self.failures = sharding.gather(self.saved or -1, self.failures)[0].tolist()
            self.saved = saved if saved >= 0 else None
            if self.failures and error is None:
                error = CheckpointError("process 0 could not save")
        if error is not None:
            text = " ".join(str(error).split()).replace(str(self._where), str(self.folder))[:200]
            if self.failures >= MAX_FAILURES:
                raise ResourceError(
                    f"saving failed {self.failures} times in a row in {self.folder} ({text})"
                )
            warn(f"saving failed ({text}); training goes on, the next save tries again")
