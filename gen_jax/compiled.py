"""A model's function compiled once for each size and choice of options, and held by the model."""

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_key
from gen_jax.errors import ConfigError, check_choice
from gen_jax.types import State

PROGRAMS = 16
"""Compiled programs that one function holds; beyond them the one used longest ago goes."""

MAX_TEXT = 2**24
"""Characters of a program with a function of the user's beyond which it is not held."""

Check = Callable[[Any, int], Any]
"""`(value, n) -> value`, checked for n samples or examples, and brought into its usual form."""


def is_arrays(value: Any) -> bool:
    """Whether a value is an array or a pytree of arrays, which a program takes as an argument."""
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)


def _kinds(value: Any) -> Any:
    """Types and values of what numbers, names, types of numbers and tuples of them make up.

    1, 1.0 and True differ, and so do 0.0 and -0.0. Raises TypeError for anything else.
    """
    if isinstance(value, tuple):
        return type(value), tuple(map(_kinds, value))
    if isinstance(value, NoneType | str | int | float | complex | np.generic | np.dtype):
        return type(value), repr(value)
    if isinstance(value, type) and (
        value in (bool, int, float, complex)
        or issubclass(value, np.generic)
        or isinstance(value, type(jnp.float32))
    ):
        return value
    raise TypeError(f"{value!r} is not a plain value")


def has_functions(value: Any) -> bool:
    """Whether a callable is a value or part of a pytree, such as a stepper."""
    return any(map(callable, jax.tree.leaves(value, is_leaf=callable)))


def _signature(function: Callable, names: Sequence[str], without: Sequence[str]) -> Any:
    """The function's signature with `names` in place of its `**`, and without some options.

    All options are by keyword.
    """
    signature, keyword = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
    fixed = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    own = [p.replace(kind=keyword) for p in fixed[3:] if p.name not in without]
    taken = {p.name for p in fixed}
    named = [inspect.Parameter(name, keyword, default=None) for name in names if name not in taken]
    return signature.replace(parameters=[*fixed[:3], *named, *own])


def _with_options(function: Callable, first: str, static: tuple) -> Callable:
    """`run(key, state, arrays)` of a function whose other arguments are (name, value)s."""

    def run(key, state, arrays):
        given = {**dict(static), **arrays}
        return function(key, state, given.pop(first), **given)

    return run


@functools.lru_cache(PROGRAMS)
def _place_of(digest: bytes) -> list[Any]:
    """Where the compiled program of a digest is, once there is one."""
    return []


def _placed(leaf: Any) -> tuple[Any, ...]:
    return jax.typeof(leaf), getattr(leaf, "sharding", None), getattr(leaf, "committed", None)


def _traced(constants: Any) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(constants))


def by_trace(run: Any) -> Callable[..., Any]:
    """A function from `jax.jit` that was made for one use, without compiling an equal one again.

    It is traced at its first call for each kind of arguments, so that what its functions read from
    outside is read then. The compiled program is that of an earlier function whose lowered text,
    with the arrays that it closes over, was the same. `PROGRAMS` of them are held, none of them
    with a text of over `MAX_TEXT` characters, which may hold many parameters.
    """
    found: dict[Any, Callable] = {}

    def call(*arguments: Any) -> Any:
        if _traced(arguments):
            return run(*arguments)
        leaves, form = jax.tree.flatten(arguments)
        kind = form, tuple(map(_placed, leaves))
        if kind not in found:
            traced = run.trace(*arguments)
            constants = jax.tree.leaves(traced.jaxpr.consts)
            if _traced(constants):
                return run(*arguments)
            lowered = traced.lower()
            parts = [lowered.as_text().encode(), repr((kind, lowered.out_tree)).encode()]
            parts += [np.asarray(constant).tobytes() for constant in constants]
            short = sum(map(len, parts)) <= MAX_TEXT
            place = _place_of(hashlib.sha256(b"".join(parts)).digest()) if short else []
            if not place:
                place.append(lowered.compile())
            found[kind] = place[0]
        return found[kind](*arguments)

    return call


class Compiled:
    """`function(key, state, n or x, **options)`, traced and compiled at the first call of a kind.

    Arrays and pytrees of them are arguments of the program. All other options are part of it.
    Programs whose options are plain (numbers, names, types of numbers, None, tuples of these) are
    held for the next call, and go with this object. Any other option, such as a function of the
    user's, may read what changes between calls: each call is traced (`by_trace`). The function
    itself must be pure.

    Args:
      check: of n or x, called before the program, which sees no values, is traced.
      checks: the same by the name of an option, for values that are not None.
      names: options that the function takes by `**`, by default None.
      without: options of the function's signature that mean nothing to this model.
      signature: instead of the one that names and without give.
    """

    def __init__(
        self,
        function: Callable,
        check: Check,
        checks: Mapping[str, Check],
        names: Sequence[str] = (),
        without: Sequence[str] = (),
        signature: inspect.Signature | None = None,
    ):
        functools.update_wrapper(self, getattr(function, "func", function))
        self.__wrapped__ = function
        self.__signature__ = self.signature = signature or _signature(function, names, without)
        self.first = first = list(self.signature.parameters)[2]
        self.options = tuple(self.signature.parameters)[3:]
        self.checks = {first: check, **{k: v for k, v in checks.items() if k in self.options}}
        # Without `self` in it: a circle would keep the programs until the next garbage collection.
        self.once = once = lambda static: jax.jit(_with_options(function, first, static))
        self.held = functools.lru_cache(PROGRAMS)(lambda static, kinds, shapes: once(static))

    def __get__(self, instance: Any, owner: Any = None) -> "Compiled":
        """Itself: with this method `help` shows the signature and docstring as of a function."""
        return self

    def __call__(self, *args: Any, **options: Any) -> Any:
        key, state, values = self.checked(*args, **options)
        return self.program(values)(key, state, values)

    def checked(self, *args: Any, **options: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Key, state and the other arguments by name, checked also while jax traces the caller.

        Raises ConfigError for an option that there is not, for None in place of a number, and
        whatever the checks raise.
        """
        for name in options.keys() - self.signature.parameters.keys():
            check_choice("option", name, self.options)
        try:
            bound = self.signature.bind(*args, **options)
        except TypeError as error:
            form = f"{getattr(self, '__name__', '')}(key, state, {self.first}, ...)"
            raise ConfigError(f"{error}: it is {form}, the key of jax.random first") from error
        bound.apply_defaults()
        values = dict(bound.arguments)
        key, state = (values.pop(name) for name in list(values)[:2])
        first = values[self.first]
        n = len(first) if np.ndim(first) else first
        with jax.ensure_compile_time_eval():
            for name, check in self.checks.items():
                if name == self.first or values.get(name) is not None:
                    values[name] = check(values[name], n)
                elif type(self.signature.parameters[name].default) in (int, float):
                    raise ConfigError(f"{name}=None must be a number")
        if key is not None or self.first == "n":
            key = as_key("key", key, n)
        return key, state, values

    def program(self, values: Mapping[str, Any]) -> Callable[[Any, State, Mapping[str, Any]], Any]:
        """`run(key, state, values)` for values of which all but the arrays are these.

        `key` is None where a model needs none. An option that is not plain is read when `run` is
        called for the first time.
        """
        arrays = {name: value for name, value in values.items() if is_arrays(value)}
        static = tuple((name, value) for name, value in values.items() if name not in arrays)
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(arrays))
        try:
            held = None if has_functions(arrays) else self.held(static, _kinds(static), shapes)
        except TypeError:
            held = None
        program = held or by_trace(self.once(static))
        return lambda key, state, values: program(
            key, state, {name: values[name] for name in arrays}
        )
