"""Early stopping: a GAN's samples get worse again, and its losses do not say when."""

from collections.abc import Sequence
from typing import NamedTuple

from gen_jax.errors import check_range


class Verdict(NamedTuple):
    """The best measurement so far, the last, and whether to stop."""

    best_step: int
    best: float
    last: float
    stop: bool


def verdict(history: Sequence[tuple[int, float]], patience: int) -> Verdict:
    """Stop when none of the last `patience` measurements was the best; 0 never stops.

    Args:
      history: (step, value) in order; smaller is better, NaN is never the best.
    """
    check_range("patience", patience, 0, integer=True)
    check_range("len(history)", len(history), 1, integer=True)
    finite = [(value, i) for i, (_, value) in enumerate(history) if value == value]
    value, index = min(finite) if finite else (history[0][1], 0)
    stop = 0 < patience <= len(history) - 1 - index
    return Verdict(history[index][0], value, history[-1][1], stop)
