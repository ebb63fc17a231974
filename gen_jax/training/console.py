"""What a run prints: a banner, a progress bar, warnings; quiet when nobody watches.

Nothing here raises: a closed terminal, a pipe that ended, a log on a full disk cost the messages.
"""

import contextlib
import os
import sys
import time
import warnings
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from gen_jax.types import State

UNWRITABLE = (OSError, ValueError, AttributeError)
"""What writing to a stream raises that is broken or full, closed, or absent (None)."""


class Steady:
    """A stream whose writing never raises; all else is the stream's own."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(*UNWRITABLE):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(*UNWRITABLE):
            self._stream.flush()

    def isatty(self) -> bool:
        with contextlib.suppress(*UNWRITABLE):
            return self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(message: str) -> None:
    """One line on stderr, past a progress bar without tearing it."""
    with contextlib.suppress(*UNWRITABLE):
        tqdm.write(message, file=Steady(sys.stderr))


def warn(message: str) -> None:
    """One line on stderr that says what happened and what was done about it."""
    say(f"warning: {message}")


def note(message: str) -> None:
    """`say` on the first process."""
    if jax.process_index() == 0:
        say(message)


def phase(message: str) -> None:
    """`note` of what begins, for a log: nothing on a terminal, where bars show it."""
    if not Steady(sys.stderr).isatty():
        note(message)


def mark(name: str, step: int = 0) -> None:
    """Say where the run is, for a harness that aims its faults; silent unless GEN_JAX_MARKERS=1."""
    if os.environ.get("GEN_JAX_MARKERS") == "1":
        print(f"MARK {name} {step}", file=Steady(sys.stderr), flush=True)


def count_parameters(params: State) -> int:
    """How many numbers a pytree holds."""
    return sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(params))


def banner(
    params: State, mesh: Any, batch_size: int, start: int, steps: int, seconds: float
) -> str:
    """Backend, devices, trained parameters, batch, steps and compile time in two lines."""
    device = mesh.devices.flat[0]
    axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    resumed = f", resumed at {start:,}" if start else ""
    return (
        f"{device.platform} ({device.device_kind}) x {mesh.size} [{axes}] | jax {jax.__version__}\n"
        f"{count_parameters(params):,} parameters | batch {batch_size} | "
        f"{steps:,} steps{resumed} | compiled in {seconds:.1f} s"
    )


def bar_here() -> tuple[Any, bool]:
    """The bar of `tqdm.auto`, and whether it is a widget of a notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a notebook without ipywidgets
        from tqdm.auto import tqdm as bar
    return bar, any(kind.__module__ == "tqdm.notebook" for kind in bar.__mro__)


class Progress:
    """A tqdm bar on a terminal or in Jupyter with ipywidgets, elsewhere a line every `interval`
    seconds, nothing if not shown.
    """

    def __init__(self, start: int, steps: int, shown: bool, interval: float = 30.0):
        self.steps, self.interval = steps, interval
        self.shown = shown and jax.process_index() == 0
        self.last_step, self.last_time = start, time.monotonic()
        stream: Any = Steady(sys.stderr)
        options = {"initial": start, "total": steps, "unit": "step", "file": stream}
        bar, in_notebook = bar_here()
        self.bar = bar(**options) if self.shown and (in_notebook or stream.isatty()) else None

    def update(self, step: int, metrics: dict[str, float], saved: int | None) -> None:
        """Show the newest numbers; `saved` is the newest durable checkpoint."""
        shown = {name: metrics[name] for name in ("loss",) if name in metrics} or metrics
        text = ", ".join(f"{name} {value:.4g}" for name, value in list(shown.items())[:3])
        if self.bar is not None:
            self.bar.set_postfix_str(text + (f", saved {saved:,}" if saved is not None else ""))
            self.bar.update(step - self.bar.n)
        elif self.shown and time.monotonic() - self.last_time > self.interval:
            rate = (step - self.last_step) / (time.monotonic() - self.last_time)
            note(f"step {step:,}/{self.steps:,}  {text}  {rate:.3g} steps/s")
            self.last_step, self.last_time = step, time.monotonic()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
