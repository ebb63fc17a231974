"""Reading checkpoints: the newest step that verifies, a given one, or the best."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from gen_jax.checks import check_callable, check_path, no_type_check
from gen_jax.errors import CheckpointError, check_range
from gen_jax.training.console import warn
from gen_jax.training.identity import (
    CONFIG,
    ForeignStep,
    Identity,
    WrongConfig,
    identity_of,
    read_config,
)
from gen_jax.training.leaves import abstract, describe, unplain_leaf
from gen_jax.training.manifest import read_manifest, read_numbers, verify
from gen_jax.types import State


class _Gone(CheckpointError):
    """A step that its run removed while it was read."""


def step_of(name: str) -> int | None:
    """The step whose folder has this name; None for another name."""
    digits = name.isascii() and name.isdigit()
    return int(name) if digits and (name == "0" or name[0] != "0") else None


@no_type_check
def saved_steps(directory: Path) -> list[int]:
    """Steps that have a folder, rising; whole when they were saved, but not verified here."""
    folder = check_path("directory", directory) / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(step for step in map(step_of, names) if step is not None)


def _check_leaves(folder: Path, stored: dict[str, str], wanted: dict[str, str]) -> None:
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise CheckpointError(
                f"{folder}: {name} is {stored.get(name, 'absent')} in the checkpoint and "
                f"{wanted.get(name, 'absent')} in the model"
            )


def load(folder: Path, template: State) -> State:
    """Restore a verified step into the form of the template."""
    _check_leaves(folder, read_manifest(folder)["leaves"], describe(template))
    with ocp.StandardCheckpointer() as checkpointer:
        data = checkpointer.restore(folder / "state", abstract(template))

    return jax.tree.map(unplain_leaf, data, template)


def _marked_best(folder: Path, identity: Identity | None) -> int | None:
    """The best step when this one was saved or, if it has been, evaluated."""
    manifest = read_manifest(folder, identity)
    numbers = read_numbers(folder, identity)
    if numbers is None and manifest.get("evaluated_later"):
        warn(f"{folder} has no numbers of evaluate: it cannot be the best")
    return (numbers or manifest).get("best")


def _best(directory: Path, steps: list[int], identity: Identity | None) -> int:
    """The saved step marked best by the newest sound manifest that names one."""
    for step in reversed(steps):
        folder = directory / "checkpoints" / str(step)
        try:
            best = _marked_best(folder, identity)
        except CheckpointError as error:
            if not folder.exists():
                raise _Gone(str(error)) from error
            warn(f"{error}; asking the step before which one is best")
            continue
        if best in steps:
            return best
    raise CheckpointError(f"{directory} has no best checkpoint (saved: {steps}, none marked)")


def newest_whole(
    directory: Path,
    steps: list[int],
    identity: Identity | None,
    on_damage: Callable[[Path], None] | None = None,
) -> int:
    """The newest step that verifies; each damaged one is a warning, and passed to `on_damage`.

    Raises CheckpointError when all are damaged, or of another run.
    """
    check_not_all_foreign(directory, steps, identity)
    for step in reversed(steps):
        folder = directory / "checkpoints" / str(step)
        try:
            verify(folder, identity)
        except WrongConfig:
            raise
        except CheckpointError as error:
            if not folder.exists():
                raise _Gone(str(error)) from error
            warn(f"{error}; falling back to the step before")
            if on_damage is not None:
                on_damage(folder)
            continue
        return step
    raise CheckpointError(f"{directory}: all checkpoints {steps} are damaged")


def check_not_all_foreign(directory: Path, steps: list[int], identity: Identity | None) -> None:
    """Then config.json was exchanged, not the steps: none of them is set aside."""
    for step in steps if identity is not None else ():
        try:
            read_manifest(directory / "checkpoints" / str(step), identity)
        except ForeignStep as error:
            foreign = error
            continue
        except CheckpointError:
            return
        return
    if steps and identity is not None:
        raise CheckpointError(
            f"{directory}: no checkpoint is of the run that {CONFIG} names: {foreign}"
        )


def identity_in(directory: Path) -> Identity:
    """The identity of the run in a directory; none of a directory that holds checkpoints alone."""
    if not (directory / CONFIG).exists():
        return Identity(None, ())
    return identity_of(read_config(directory))


@no_type_check
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
    A run that is under way may be read: when it removes the step that is being read, its steps are
    listed again. Raises CheckpointError when there is none, all are damaged, the step is of another
    run, or shapes or dtypes differ.
    """
    directory = check_path("directory", directory).absolute()
    if step is not None and step != "best":
        check_range("step", step, 0, integer=True)
    if on_damage is not None:
        check_callable("on_damage", on_damage)
    while True:
        steps = saved_steps(directory)
        if not steps:
            raise CheckpointError(f"{directory} holds no checkpoint")
        try:
            return _restore(directory, template, step, steps, on_damage)
        except _Gone:
            continue


def _restore(
    directory: Path, template: State, step: int | str | None, steps: list[int], on_damage: Any
) -> tuple[State, int]:
    """`restore_state` among the steps there were. Raises _Gone when its step was removed."""
    identity = identity_in(directory)
    if step is None:
        chosen = newest_whole(directory, steps, identity, on_damage)
    else:
        chosen = _best(directory, steps, identity) if step == "best" else int(step)
        if chosen not in steps:
            raise CheckpointError(f"{directory} has no step {chosen} (saved: {steps})")
    folder = directory / "checkpoints" / str(chosen)
    try:
        if step is not None:
            verify(folder, identity)
        state = load(folder, template)
    except Exception as error:
        if not folder.exists():
            raise _Gone(str(error)) from error
        raise
    # A step is removed by renaming it first: while its name is there, so is all that is in it.
    if not folder.exists():
        raise _Gone(f"{folder} was removed")
    return state, chosen
