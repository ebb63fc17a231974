"""What is due at which step, and the means of the metrics between two lines of the log."""

from typing import Any, NamedTuple

import numpy as np

from gen_jax.training import sharding


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
