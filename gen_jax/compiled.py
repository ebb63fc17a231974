"""A model's function compiled once for each size and choice of options, and held by the model."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from gen_jax.checks import as_key
from gen_jax.errors import check_choice
from gen_jax.types import State

PROGRAMS = 16
"""Compiled programs that one function holds; beyond them the one used longest ago goes."""

Check = Callable[[Any, int], Any]
"""`(value, n) -> value`, checked for n samples or examples, and brought into its usual form."""


def is_arrays(value: Any) -> bool:
    """Whether a value is an array or a pytree of arrays, which a program takes as an argument."""
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)


def _is_plain(value: Any) -> bool:
    """Whether a value is made of numbers, names and types alone."""
    leaves = jax.tree.leaves(value, is_leaf=lambda part: part is None)
    return all(isinstance(leaf, str | int | float | type | NoneType) for leaf in leaves)


def _with_options(function: Callable, first: str, static: tuple) -> Callable:
    """`run(key, state, arrays)` of a function whose other arguments are (name, type, value)s."""
    options = {name: value for name, _, value in static}

    def run(key, state, arrays):
        given = {**options, **arrays}
        return function(key, state, given.pop(first), **given)

    return run


class Compiled:
    """`function(key, state, n or x, **options)`, traced and compiled at the first call of a kind.

    Arrays and pytrees of them are arguments of the program. All other options (numbers, names,
    functions) are part of it: another value compiles again, and so does a function that is made
    anew for each call; an option without a hash compiles at each call. Nothing is held elsewhere:
    the programs go with this object.

    Args:
      check: of n or x, called before the program, which sees no values, is traced.
      checks: the same by the name of an option, for values that are not None.
    """

    def __init__(self, function: Callable, check: Check, checks: Mapping[str, Check]):
        functools.update_wrapper(self, getattr(function, "func", function))
        self.__wrapped__ = function
        self.signature = inspect.signature(function)
        parameters = list(self.signature.parameters.values())
        self.first = first = parameters[2].name
        self.checks = {first: check, **checks}
        self.options = tuple(p.name for p in parameters[3:] if p.kind is not p.VAR_KEYWORD)
        self.open = len(self.options) < len(parameters) - 3
        # Without `self` in it: a circle would keep the programs until the next garbage collection.
        self.traced = lambda static: _with_options(function, first, static)
        compile_one = lambda static, shapes: jax.jit(_with_options(function, first, static))
        self.program = functools.lru_cache(PROGRAMS)(compile_one)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.run(*self.checked(*args, **options))

    def checked(self, *args: Any, **options: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Key, state and the other arguments by name, checked also while jax traces the caller.

        Raises ConfigError for an option that there is not, and whatever the checks raise.
        """
        if not self.open:
            for name in options.keys() - self.signature.parameters.keys():
                check_choice("option", name, self.options)
        bound = self.signature.bind(*args, **options)
        bound.apply_defaults()
        values = dict(bound.arguments)
        if self.open:
            values |= values.pop(list(values)[-1])
        key, state = (values.pop(name) for name in list(values)[:2])
        first = values[self.first]
        n = len(first) if np.ndim(first) else first
        with jax.ensure_compile_time_eval():
            for name, check in self.checks.items():
                if name == self.first or values.get(name) is not None:
                    values[name] = check(values[name], n)
        if key is not None or self.first == "n":
            key = as_key("key", key, n)
        return key, state, values

    def run(self, key: Any, state: State, values: Mapping[str, Any]) -> Any:
        """The program for these values, called; `key` is None where a model needs none."""
        arrays = {name: value for name, value in values.items() if is_arrays(value)}
        fixed = [(name, value) for name, value in values.items() if name not in arrays]
        static = tuple((name, type(value), value) for name, value in fixed)
        tracing = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((key, state, arrays)))
        if tracing and not _is_plain(static):
            # A function may close over values of the trace, which must not be held beyond it.
            return self.traced(static)(key, state, arrays)
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(arrays))
        try:
            program = self.program(static, shapes)
        except TypeError:  # no hash
            program = jax.jit(self.traced(static))
        return program(key, state, arrays)
