"""Checkpoints that are whole or are not used: a thin wrapper around Orbax.

Orbax writes the arrays. What is added: a manifest with the SHA-256 of every file and of itself; a
step that gets its name, by one rename, only when everything in it is durable; verification before
anything is restored, with a fall-back to the newest step that verifies; an error, not a cast, when
shapes or dtypes differ.

    checkpoints/STEP/state/...         the arrays, by Orbax
    checkpoints/STEP/manifest.json     step, metrics, leaves, files
    checkpoints/STEP.damaged           a step that did not verify, kept for whoever wants to look
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
import numpy as np
import orbax.checkpoint as ocp

from gen_jax.errors import CheckpointError, ResourceError
from gen_jax.training import sharding
from gen_jax.training.console import mark, warn
from gen_jax.training.files import plain, sync
from gen_jax.training.manifest import read_manifest, verify, write_manifest
from gen_jax.types import State

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


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _unplain(data: Any, like: Any) -> Any:
    """The inverse of `_plain`, given an array or abstract array of the same form."""
    if not like.size:
        return jnp.zeros(like.shape, like.dtype, device=getattr(like, "sharding", None))
    if not _is_key(like):
        return data
    generators = []
    jax.eval_shape(lambda key: generators.append(jax.random.key_impl(key)), like)
    return jax.random.wrap_key_data(data, impl=generators[0])


def _plain(x: Any) -> Any:
    """A leaf as Orbax can save it: keys as the integers they are made of, nothing empty."""
    data = jax.random.key_data(x) if _is_key(x) else x
    return data if data.size else jnp.zeros((1,), data.dtype)


def _abstract(template: State) -> State:
    """Shapes, dtypes and shardings of the `_plain` leaves, from arrays or abstract arrays."""

    def leaf(x):
        sharding = getattr(x, "sharding", None)
        sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
        x = jax.eval_shape(_plain, jax.ShapeDtypeStruct(x.shape, x.dtype))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map(leaf, template)


def _describe(state: State) -> dict[str, str]:
    """Path of each leaf -> its shape and dtype, in words."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in leaves}


def saved_steps(directory: Path) -> list[int]:
    """Steps that have a folder, rising; whole when they were saved, but not verified here."""
    folder = Path(directory) / "checkpoints"
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(name) for name in names if name.isdigit())


def _check_leaves(folder: Path, stored: dict[str, str], wanted: dict[str, str]) -> None:
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise CheckpointError(
                f"{folder}: {name} is {stored.get(name, 'absent')} in the checkpoint and "
                f"{wanted.get(name, 'absent')} in the model"
            )


def _load(folder: Path, template: State) -> State:
    """Restore a verified step into the form of the template."""
    _check_leaves(folder, read_manifest(folder)["leaves"], _describe(template))
    with ocp.StandardCheckpointer() as checkpointer:
        data = checkpointer.restore(folder / "state", _abstract(template))

    return jax.tree.map(_unplain, data, template)


def _best(directory: Path) -> int:
    """The saved step marked best by the newest sound manifest that names one."""
    steps = saved_steps(directory)
    for step in reversed(steps):
        try:
            best = read_manifest(directory / "checkpoints" / str(step))["best"]
        except CheckpointError as error:
            warn(f"{error}; asking the step before which one is best")
            continue
        if best in steps:
            return best
    raise CheckpointError(f"{directory} has no best checkpoint (saved: {steps}, none marked)")


def restore_state(
    directory: str | Path,
    template: State,
    step: int | str | None = None,
    on_damage: Callable[[Path], None] | None = None,
) -> tuple[State, int]:
    """The state saved in a run directory and its step.

    Args:
      template: arrays or abstract arrays of the state, with shardings if it should be placed.
      step: a saved step, "best", or None for the newest that verifies (a damaged newer one is
        reported in one warning line, and passed to `on_damage`).
    Raises CheckpointError when there is none, all are damaged, or shapes or dtypes differ.
    """
    directory = Path(directory).absolute()
    steps = saved_steps(directory)
    if not steps:
        raise CheckpointError(f"{directory} holds no checkpoint")
    if step is None:
        step = _newest_whole(directory, steps, on_damage)
    else:
        step = _best(directory) if step == "best" else int(step)
        if step not in steps:
            raise CheckpointError(f"{directory} has no step {step} (saved: {steps})")
        verify(directory / "checkpoints" / str(step))
    return _load(directory / "checkpoints" / str(step), template), step


def _newest_whole(
    directory: Path, steps: list[int], on_damage: Callable[[Path], None] | None
) -> int:
    """The newest step that verifies; each damaged one is a warning, and passed to `on_damage`."""
    for step in reversed(steps):
        folder = directory / "checkpoints" / str(step)
        try:
            verify(folder)
        except CheckpointError as error:
            warn(f"{error}; falling back to the step before")
            if on_damage is not None:
                on_damage(folder)
            continue
        return step
    raise CheckpointError(f"{directory}: all checkpoints {steps} are damaged")


def set_aside(folder: Path) -> None:
    """Rename a damaged step, which is never deleted."""
    target, number = folder.with_name(f"{folder.name}.damaged"), 1
    while target.exists():
        target, number = folder.with_name(f"{folder.name}.damaged-{number}"), number + 1
    folder.rename(target)


class Checkpoints:
    """Saves steps of one run in the background and keeps the last `keep` and the best.

    `saved` is the newest durable step. Of several processes, which must share the file system and
    call every method together, all write their part of the arrays, and wait for each other;
    process 0 does the rest and decides what was saved.
    """

    def __init__(self, directory: Path, keep: int, best: tuple[str, str] | None = None):
        self.directory = Path(directory).absolute()
        self.folder = self.directory / "checkpoints"
        self.keep, self.best_rule = keep, best
        self.best: tuple[int, float] | None = None
        self.saved: int | None = None
        self.failures = 0
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        if sharding.is_first():
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.iterdir():
                if path.name.startswith((SAVING, TRASH)):
                    shutil.rmtree(path, ignore_errors=True)

    def restore(self, template: State) -> tuple[State, int] | None:
        """The newest whole checkpoint and its step, or None in a run that has none yet.

        Raises CheckpointError when there are only damaged ones: never a silent restart.
        """
        newest = sharding.decided_by_first(self._newest)
        if newest < 0:
            return None
        state, self.saved = _load(self.folder / str(newest), template), newest
        for step in saved_steps(self.directory):
            with contextlib.suppress(CheckpointError):
                self.best = self._better(step, read_manifest(self.folder / str(step))["metrics"])
        return state, self.saved

    def _newest(self) -> int:
        """The step to resume from, or -1 in a run that has none yet."""
        steps = saved_steps(self.directory)
        if steps:
            return _newest_whole(self.directory, steps, set_aside)
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

    def save(self, step: int, state: State, metrics: dict[str, float]) -> None:
        """Start saving; the state may be donated as soon as this returns."""
        self.wait()
        if step == self.saved:
            return
        # A copy, because on the CPU Orbax would read the very buffers that the next step donates
        # (and the data of a key share its buffer).
        data = jax.block_until_ready(jax.tree.map(lambda x: jnp.copy(_plain(x)), state))
        content = {"step": step, "metrics": plain(metrics), "leaves": _describe(state)}
        mark("save", step)
        self._thread = threading.Thread(target=self._write, args=(step, data, content))
        self._thread.start()
        if not sharding.is_alone():  # Orbax waits by collectives, which have to keep their order
            self._thread.join()

    def finish(self, step: int, state: State, metrics: dict[str, float]) -> None:
        """Save and wait until it is durable. Raises ResourceError after three failures."""
        self.wait()  # now all processes know the same `saved`
        while self.saved != step:
            self.save(step, state, metrics)
            self.wait()

    def _write(self, step: int, data: State, content: dict[str, Any]) -> None:
        saving = self.folder / f"{SAVING}{step}"
        try:
            best = self._better(step, content["metrics"])
            if sharding.is_first():
                saving.mkdir()
            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(saving / "state", data)
                checkpointer.wait_until_finished()
            if not sharding.is_first():
                return
            mark("commit", step)
            write_manifest(saving, {**content, "best": best and best[0]})
            for path in (*saving.rglob("*"), saving):
                sync(path)
            saving.rename(self.folder / str(step))
            sync(self.folder)
        except Exception as error:
            shutil.rmtree(saving, ignore_errors=True)
            self.failures, self._error = self.failures + 1, error
            return
        self.saved, self.failures, self.best = step, 0, best
        mark("saved", step)
        self._clean()

    def _clean(self) -> None:
        steps = saved_steps(self.directory)
        keep = set(steps[-self.keep :]) | ({self.best[0]} if self.best else set())
        for step in steps:
            if step not in keep:
                mark("clean", step)
                # First out of sight in one rename, so that a kill leaves no half step behind.
                trash = self.folder / f"{TRASH}{step}"
                try:
                    (self.folder / str(step)).rename(trash)
                except OSError as error:
                    warn(f"the old step {step} could not be removed ({error.strerror})")
                shutil.rmtree(trash, ignore_errors=True)

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
            text = " ".join(str(error).split())[:200]
            if self.failures >= MAX_FAILURES:
                raise ResourceError(
                    f"saving failed {self.failures} times in a row in {self.folder} ({text})"
                )
            warn(f"saving failed ({text}); training goes on, the next save tries again")


def _leaves_where(state: State, test: Callable) -> frozenset[str]:
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    inexact = [(path, x) for path, x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]
    return frozenset(
        jax.tree_util.keystr(path) for path, x in inexact if bool(np.asarray(test(x).any()))
    )


def infinite_leaves(state: State) -> frozenset[str]:
    """Names of the leaves that hold an infinity: at the start, those that may (a best so far)."""
    return _leaves_where(state, jnp.isinf)


def damaged_leaves(state: State, may_be_infinite: frozenset[str]) -> list[str]:
    """Names of the leaves that hold a NaN, or an infinity where there must be none."""
    bad = _leaves_where(state, jnp.isnan) | (infinite_leaves(state) - may_be_infinite)
    return sorted(bad)
