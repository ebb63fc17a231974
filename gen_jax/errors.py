"""Errors a user can act on: one line that names the argument, what was given and what is allowed.

Each class carries the exit code that the command line returns for it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from inspect import isroutine
from numbers import Integral, Real
from typing import Any

import jax
import numpy as np


class GenJaxError(Exception):
    """Base class; `exit_code` is what a script returns when this error ends it."""

    exit_code = 1


class ConfigError(GenJaxError, ValueError):
    """An argument, option or configuration that cannot work."""

    exit_code = 2


class DataError(GenJaxError, ValueError):
    """A dataset that is missing, empty, unreadable or of the wrong form."""

    exit_code = 3


class CheckpointError(GenJaxError):
    """A checkpoint or run directory that is damaged, locked or does not fit."""

    exit_code = 4


class NumericalError(GenJaxError, ArithmeticError):
    """A loss or state that is not finite."""

    exit_code = 5


class ResourceError(GenJaxError):
    """Disk, memory or device that is not available."""

    exit_code = 6


class Stopped(GenJaxError):
    """The run was asked to stop, has saved, and can be resumed."""

    exit_code = 75


def shown(value: Any) -> str:
    """What was given, in a few words of one line: arrays by dtype and shape."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"an array of {value.dtype} {list(value.shape)}"
    if isinstance(value, type) or isroutine(value):
        named = getattr(value, "__name__", "<lambda>") != "<lambda>"
        kind = "class" if isinstance(value, type) else "function"
        return f"the {kind} {value.__name__}" if named else f"a {kind}"
    if isinstance(value, Mapping | list | set) or callable(value):
        return f"a {type(value).__name__}"
    text = " ".join(repr(value).split())
    if len(text) > 200 and isinstance(value, tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return text if len(text) <= 200 else f"{text[:197]}..."


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`; else raise ConfigError with the nearest match."""
    names = list(dict.fromkeys(choices))
    if value in names:
        return value
    near = get_close_matches(str(value), names, n=1) or [
        name for name in names if name and str(value).startswith(name)
    ]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"{argument}={shown(value)} is unknown{hint} (choose from: {', '.join(names)})"
    )


def check_range(
    argument: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low: bool = False,
    integer: bool = False,
) -> Any:
    """Return `value` if it lies in [low, high], or in (low, high] with `open_low`.

    Raises ConfigError naming the argument, the value and the interval.
    """
    ends = ("-inf" if low is None else low, "inf" if high is None else high)
    allowed = f"{'(' if open_low else '['}{ends[0]}, {ends[1]}]"
    kind = "an integer" if integer else "a number"
    number = isinstance(value, Integral if integer else Real) and not isinstance(value, bool)
    if not number:
        raise ConfigError(f"{argument}={shown(value)} must be {kind} in {allowed}")
    above = low is None or (value > low if open_low else value >= low)
    if not (above and (high is None or value <= high)):
        raise ConfigError(f"{argument}={shown(value)} must be {kind} in {allowed}")
    return value


def check_shape(argument: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of one example as a tuple of integers of at least 1; else ConfigError."""
    axes = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else ()
    whole = all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0 for n in axes)
    if not axes or not whole:
        raise ConfigError(f"{argument}={shown(shape)} must be a tuple of sizes, each at least 1")
    return axes


def check_finite(argument: str, value: Any) -> Any:
    """Return `value`; raise ConfigError for numbers, or known arrays, that are NaN or infinite."""
    if value is None:  # an option that was not given
        return value
    if isinstance(value, str | bytes):
        raise ConfigError(f"{argument}={shown(value)} must be a finite number")
    if isinstance(value, Real):
        finite = math.isfinite(value)
    else:
        finite = isinstance(value, jax.core.Tracer) or bool(np.all(np.isfinite(value)))
    if not finite:
        raise ConfigError(f"{argument}={shown(value)} must be a finite number")
    return value


def check_flag(argument: str, value: Any) -> bool:
    """Return `value` if it is True or False; else raise ConfigError."""
    if not isinstance(value, bool):
        raise ConfigError(f"{argument}={shown(value)} must be True or False")
    return value


def check_text(argument: str, value: Any) -> str:
    """Return `value` if it is a string; else raise ConfigError."""
    if not isinstance(value, str):
        raise ConfigError(f"{argument}={shown(value)} must be a string")
    return value


def check_widths(argument: str, widths: Sequence[int], low: int = 1) -> None:
    """Raise ConfigError unless there is a width, and all are integers of at least `low`."""
    if not widths:
        raise ConfigError(f"{argument}=() must name at least one width")
    for width in widths:
        check_range(argument, width, low, integer=True)
