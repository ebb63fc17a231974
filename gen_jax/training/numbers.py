"""The numbers that go into the log: their names and values, as a model or `evaluate` gives them."""

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import jax.numpy as jnp

from gen_jax.errors import ConfigError, shown

RESERVED = ("step", "steps_per_second")
"""Names that a line of the log has already."""


def check_names(source: str, names: Iterable[Any]) -> None:
    """Raise ConfigError for a name that is no string, or that the log uses itself."""
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"{source} gives a number named {shown(name)}, must be a string")
        if name in RESERVED:
            raise ConfigError(
                f"{source} gives {name!r}, a name that the log uses itself (allowed: any but "
                f"{', '.join(RESERVED)})"
            )


def _is_real(value: Any) -> bool:
    dtype, kinds = getattr(value, "dtype", None), (jnp.floating, jnp.integer, jnp.bool_)
    if dtype is None:
        return isinstance(value, Real)
    return value.shape == () and any(jnp.issubdtype(dtype, kind) for kind in kinds)


def real_numbers(source: str, values: Any) -> dict[str, float]:
    """Numbers by name, as Python floats. Raises ConfigError with the name of any other value."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source} gives {shown(values)}, must be a mapping of names to numbers")
    check_names(source, values)
    numbers: dict[str, float] = {}
    for name, value in values.items():
        try:
            if _is_real(value):
                numbers[name] = float(value)
        except OverflowError:
            pass  # an integer that no float holds
        if name not in numbers:
            raise ConfigError(f"{source} gives {name}={shown(value)}, must be one real number")
    return numbers
