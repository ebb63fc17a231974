"""When and how a run saves: at its steps, before it ends, and where its directory was moved."""

import time

import numpy as np

from gen_jax.errors import CheckpointError, GenJaxError, NumericalError, ResourceError, Stopped
from gen_jax.training import sharding
from gen_jax.training.checkpoint import Checkpoints
from gen_jax.training.console import warn
from gen_jax.training.identity import CONFIG
from gen_jax.training.leaves import damaged_leaves, is_deleted
from gen_jax.training.plan import Means, Plan
from gen_jax.training.rundir import RunDirectory
from gen_jax.training.stopping import StopRequest
from gen_jax.types import State


class Moved(CheckpointError):
    """The run directory is no longer where it was."""


class Saving:
    """What saves the state of a run, and ends it.

    `run` and `checkpoints` are None when nothing is kept; `run` is also None on all processes but
    the first. What steers the loop is the same on every process.
    """

    def __init__(
        self,
        plan: Plan,
        run: RunDirectory | None,
        checkpoints: Checkpoints | None,
        stop: StopRequest,
    ):
        self.plan, self.run, self.checkpoints, self.stop = plan, run, checkpoints, stop
        self.last_save = time.monotonic()
        self.may_be_infinite: frozenset[str] = frozenset()
        self.means = Means(0)
        self.in_hook = False

    @property
    def saved(self) -> int | None:
        return self.checkpoints.saved if self.checkpoints else None

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

    def not_finite(self, step: int, what: str) -> None:
        if self.checkpoints:
            self.checkpoints.wait()
        saved = "none" if self.saved is None else f"step {self.saved}"
        raise NumericalError(f"{what} is not finite at step {step}; last good checkpoint: {saved}")

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
