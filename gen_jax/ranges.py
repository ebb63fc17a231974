"""Ranges of options, written once beside each option, and read by the checks and the help.

    class Options(NamedTuple):
        width: Annotated[int, Range(1, 1024)] = 64
        dropout: Share = 0.1

    check_ranges(options)

A field of whole numbers (`int`) takes only these; of a tuple each entry lies in the range.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from gen_jax.errors import ConfigError, check_choice, check_range, shown

Made = TypeVar("Made")

TINY, HUGE = (float(getattr(np.finfo(np.float32), end)) for end in ("tiny", "max"))
"""Sizes that float32 holds: others are 0 or infinite in the arrays that they meet."""


class Range(NamedTuple):
    """The numbers [low, high], or (low, high] with `open_low`, that an option may have.

    Fields:
      entries: fewest entries of a tuple.
    """

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    entries: int = 1

    def __str__(self) -> str:
        low, high = "-inf" if self.low is None else self.low, self.high
        closed = f"{'(' if self.open_low else '['}{low}, "
        return f"{closed}inf)" if high is None else f"{closed}{high}]"


Share = Annotated[float, Range(0, 1)]
Weight = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, open_low=True)]
MaybePositive = Annotated[float | None, Range(0, open_low=True)]
Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]


class Field(NamedTuple):
    """What the annotation of an option says: the plain types in it, and its range if it has one."""

    types: frozenset[type]
    range: Range | None

    @property
    def is_number(self) -> bool:
        return bool({int, float} & self.types)


def _plain_types(hint: Any) -> Iterator[type]:
    if not get_args(hint) or get_origin(hint) is tuple:
        yield get_origin(hint) or hint
    parts = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    for part in parts:
        if not isinstance(part, list):  # of a Callable's arguments
            yield from _plain_types(part)


@cache
def fields_of(kind: Any) -> dict[str, Field]:
    """The options of a NamedTuple or dataclass by name."""
    names = [f.name for f in fields(kind)] if is_dataclass(kind) else getattr(kind, "_fields", ())
    hints = get_type_hints(kind, include_extras=True) if names else {}
    metadata = {name: getattr(hints[name], "__metadata__", ()) for name in names}
    found = lambda name: next((m for m in metadata[name] if isinstance(m, Range)), None)
    return {name: Field(frozenset(_plain_types(hints[name])), found(name)) for name in names}


def _check_field(name: str, field: Field, value: Any) -> None:
    if value is None and type(None) in field.types:
        return
    several = tuple in field.types and isinstance(value, tuple)
    if several and field.range is not None and len(value) < field.range.entries:
        raise ConfigError(f"{name}={value} must have at least {field.range.entries} entries")
    for number in value if several else (value,):
        if isinstance(number, float) and math.isinf(number):
            raise ConfigError(f"{name}={number} must be a finite number")
        if field.range is not None:
            low, high, open_low, _ = field.range
            check_range(
                name, number, low, high, open_low=open_low, integer=float not in field.types
            )
        if isinstance(number, float) and number and not TINY <= abs(number) <= HUGE:
            raise ConfigError(f"{name}={number} must be 0 or of a size in [{TINY:.3g}, {HUGE:.3g}]")


def options_from(kind: type[Made], words: Mapping[str, Any], *first: Any) -> Made:
    """`kind(*first, **words)`, a NamedTuple of options.

    Raises ConfigError for a word that is none of its fields, with the near match, and where a field
    without a default is missing.
    """
    known: Any = kind
    for name, value in words.items():
        if name == "num_classes" and name not in known._fields and "condition" in known._fields:
            raise ConfigError(
                f"option='num_classes' is unknown: give condition=conditions.labels({shown(value)})"
            )
        check_choice("option", name, known._fields)
    needed = [name for name in known._fields[len(first) :] if name not in known._field_defaults]
    if missing := [name for name in needed if name not in words]:
        raise ConfigError(f"{' and '.join(missing)} must be given, there is no default")
    return kind(*first, **words)


def check_ranges(options: Any, prefix: str = "") -> None:
    """Raise ConfigError for the first of (nested) options that no value of it can be.

    That is a number out of its range or of a size that float32 does not hold, or an empty text.

    Args:
      options: a NamedTuple or dataclass; `prefix` comes before its names in the message.
    """
    kind: Any = type(options)
    for name, field in fields_of(kind).items():
        value = getattr(options, name)
        if is_dataclass(value) or hasattr(value, "_fields"):
            check_ranges(value, f"{prefix}{name}.")
        elif field.is_number:
            _check_field(f"{prefix}{name}", field, value)
        elif isinstance(value, str) and not value:
            raise ConfigError(f"{prefix}{name}='' must not be empty (leave the option out)")
