"""Types of options with the range that each takes: checked by `check_ranges`, shown by `--help`."""

from typing import Annotated, Any

import tyro

from gen_jax.ranges import Range, fields_of
from gen_jax.training.fit import MAX_STEPS

MAX_LAYERS, MAX_WIDTH, MAX_COUNT = 1000, 2**16, 2**20
"""A network of more layers takes minutes to trace, a wider one all memory, as more draws do."""
MAX_SAMPLES = 10_000_000
"""Of one call; even their keys take 8 bytes each."""


def within(
    low: float | None = None, high: float | None = None, open_low: bool = False, entries: int = 1
) -> tuple[Any, ...]:
    """What `Annotated` adds to a type: the range, and its line in the help."""
    allowed = Range(low, high, open_low, entries)
    return allowed, tyro.conf.arg(
        help_behavior_hint=lambda default: f"(default: {default}, in {allowed})"
    )


def of(options: Any, name: str, high: float | None = None) -> tuple[Any, ...]:
    """What `Annotated` adds to a type: the range of an option of the library, ending at `high`."""
    allowed = fields_of(options)[name].range or Range()
    return within(*allowed) if high is None else within(*allowed._replace(high=high))


Steps = Annotated[int, *within(1, MAX_STEPS)]
Duration = Annotated[int, *within(0, MAX_STEPS)]
SavedStep = Annotated[int | None, *within(0, MAX_STEPS)]
Seed = Annotated[int, *within(0, 2**32 - 1)]
Count = Annotated[int, *within(1, MAX_COUNT)]
Layers = Annotated[int, *within(1, MAX_LAYERS)]
MaybeLayers = Annotated[int | None, *within(1, MAX_LAYERS)]
Width = Annotated[int, *within(1, MAX_WIDTH)]
MaybeWidth = Annotated[int | None, *within(1, MAX_WIDTH)]
Widths = Annotated[tuple[int, ...], *within(1, MAX_WIDTH)]
MaybeWidths = Annotated[tuple[int, ...], *within(1, MAX_WIDTH, entries=0)]
Positive = Annotated[float, *within(0, open_low=True)]
MaybePositive = Annotated[float | None, *within(0, open_low=True)]
Weight = Annotated[float, *within(0)]
Share = Annotated[float, *within(0, 1)]
