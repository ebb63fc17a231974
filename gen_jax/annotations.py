"""Decorators that check a function's arguments by the axes that are named for them.

They use the checks of `gen_jax.checks` for each argument, and hold one size for each named axis.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import jax.numpy as jnp
import numpy as np

from gen_jax.checks import F, as_array, as_floats, as_key, check_form, check_unit, kept_known
from gen_jax.types import Float


def floats(**forms: str) -> Callable[[F], F]:
    """A function whose arguments of these names are taken as `as_floats` does.

    Args:
      forms: the axes of each, "N D" or "*N D" (see `check_form`), "tree" for a tuple of arrays, or
        "key" for one key of `jax.random`.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)

        @wraps(function)
        def call(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            sizes: dict[str, Any] = {}
            for name, form in forms.items():
                given = bound.arguments.get(name)
                if form == "key":
                    given = as_key(name, given)
                elif form == "tree" and given is not None:
                    parts = zip(given._fields, given)
                    given = type(given)(*(as_floats(f"{name}.{f}", part) for f, part in parts))
                elif given is not None:
                    given = as_floats(name, given)
                    check_form(name, given.shape, form, sizes)
                bound.arguments.update({} if given is None else {name: given})
            return function(*bound.args, **bound.kwargs)

        return cast(F, call)

    return decorate


def shaped(*times: str) -> Callable[[F], F]:
    """A function whose arrays must have the axes that its annotations name, so that none is
    broadcast to a wrong number in silence; those of floats are taken as `as_floats` does. One
    number stands for a whole axis "B".

    Args:
      times: arguments that lie in [0, 1], which is checked where they are known.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        kinds = {name: argument.annotation for name, argument in signature.parameters.items()}
        kinds = {name: kind for name, kind in kinds.items() if hasattr(kind, "dim_str")}
        keys = [name for name, kind in kinds.items() if "prng_key" in kind.dtypes]
        widths = vars(Float)["dtypes"]
        real = [name for name, kind in kinds.items() if {*kind.dtypes} <= {*widths}]

        @wraps(function)
        def call(*args, **kwargs):
            try:
                bound, sizes = signature.bind(*args, **kwargs), dict[str, Any]()
            except TypeError:
                return function(*args, **kwargs)  # Python's own message names the function
            for name, value in bound.arguments.items():
                if name not in kinds or name in keys:
                    continue
                if isinstance(value, int | float) and name in real and name not in times:
                    if len(kinds[name].dim_str.split()) > 1:
                        check_form(name, (), kinds[name].dim_str, sizes)
                    continue  # a number of Python takes the dtype of the arrays
                value = as_floats(name, value) if name in real else as_array(name, value)
                form = kinds[name].dim_str
                if value.ndim or len(form.split()) != 1:
                    check_form(name, value.shape, form, sizes)
                if name in times:
                    check_unit(name, value)
                bound.arguments[name] = value
            for name, value in bound.arguments.items():
                form = kinds[name].dim_str if name in kinds else None
                if form in sizes and not np.ndim(value):
                    each = lambda value, shape=(sizes[form],): jnp.broadcast_to(value, shape)
                    bound.arguments[name] = kept_known(each, value)
                elif form and form.isidentifier() and name not in keys:
                    check_form(name, np.shape(value), form, sizes)  # none gives the axis a size
            return function(*bound.args, **bound.kwargs)

        vars(call)["shaped"] = True
        return cast(F, call)

    return decorate
