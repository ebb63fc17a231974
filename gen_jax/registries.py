"""One line for each row of a registry: the first of its docstring, or one of its own."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

Row = TypeVar("Row", bound=Callable)


def described(line: str, row: Row) -> Row:
    """`row`, a function made for this registry alone, with `line` as its docstring."""
    row.__doc__ = line
    return row


def description(row: Any) -> str:
    """The line of a row: its field `description`, or the first line of its docstring.

    Of a partial function without a docstring of its own it is that of the function.
    """
    line = getattr(row, "description", None) or row.__doc__
    if isinstance(row, partial) and line == partial.__doc__:
        return description(row.func)
    return (line or "").strip().split("\n")[0]
