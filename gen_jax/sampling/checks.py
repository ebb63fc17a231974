"""What is done at the door: numbers become floating-point arrays of the axes that a function needs,
and log-densities that do not give one number per point are refused.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from gen_jax.checks import as_floats, check_output, per_point
from gen_jax.errors import ConfigError
from gen_jax.types import Array

F = TypeVar("F", bound=Callable)


def check_per_point(name: str, values: Any, count: int) -> Any:
    """Return `values` if they are floating-point numbers [count]; else raise ConfigError."""
    return check_output(name, values, (count,), "one number per point, ")


def checked(
    log_density: Callable[[Any], Array], name: str = "log_density"
) -> Callable[[Any], Array]:
    """The log-density of points [B, ...], which raises ConfigError while traced unless it is [B].

    Points may be a pytree; `name` is what the error calls the function.
    """
    return per_point(name, log_density)


def check_form(argument: str, shape: tuple[int, ...], form: str, sizes: dict[str, int]) -> None:
    """Raise ConfigError unless a shape has the axes that `form` names, "N D" or "*N D", in the
    sizes that other arguments gave them; `sizes` learns the new ones.
    """
    axes = form.split()
    many = [i for i, axis in enumerate(axes) if axis[0] in "*."]
    left = many[0] if many else len(axes)
    right = len(axes) - left - 1 if many else 0
    fits = len(shape) == len(axes) if not many else len(shape) >= len(axes) - 1
    ends = [*zip(axes[:left], shape), *zip(axes[len(axes) - right :], shape[len(shape) - right :])]
    known = {axis: sizes[axis] for axis in axes if axis in sizes}
    if not fits or any(sizes.setdefault(axis, size) != size for axis, size in ends):
        named = "".join(f", {axis} = {size}" for axis, size in known.items())
        raise ConfigError(f"{argument} has shape {shape}, must be [{', '.join(axes)}]{named}")


def floats(**forms: str) -> Callable[[F], F]:
    """A function whose arguments of these names are taken as `gen_jax.checks.as_floats` does.

    Args:
      forms: the axes of each, "N D" or "*N D" (see `check_form`), or "tree" for a tuple of arrays.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)

        @wraps(function)
        def call(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            sizes: dict[str, int] = {}
            for name, form in forms.items():
                given = bound.arguments.get(name)
                if form == "tree" and given is not None:
                    parts = zip(given._fields, given)
                    given = type(given)(*(as_floats(f"{name}.{f}", part) for f, part in parts))
                elif given is not None:
                    given = as_floats(name, given)
                    check_form(name, given.shape, form, sizes)
                bound.arguments.update({} if given is None else {name: given})
            return function(*bound.args, **bound.kwargs)

        return cast(F, call)

    return decorate
