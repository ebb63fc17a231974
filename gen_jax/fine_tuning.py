"""Starting from what another run has learnt."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.errors import ConfigError, shown
from gen_jax.types import State

FRESH = ("optimizer", "step")
"""Ends of the names of fields that start anew: moments of optimizers, counts of steps."""


def start_from(fresh: State, trained: State, name: str = "initial") -> State:
    """A state in the form of `fresh` with the parameters, averages and buffers of `trained`.

    Moments of optimizers and counts of steps stay fresh, and so do entries that `trained` has not,
    such as a second time embedding, and fields that are None in it. Raises ConfigError for entries
    of another shape, and for those that `fresh` has not.
    """
    own: dict[str, Any] = getattr(fresh, "_asdict", dict)()
    if own:
        fields: dict[str, Any] = getattr(trained, "_asdict", dict)()
        if fields.keys() != own.keys():
            raise ConfigError(f"{name} is {shown(trained)}, must be a {type(fresh).__name__}")
        keep = lambda field: field.endswith(FRESH) or fields[field] is None
        return type(fresh)(
            *(
                value if keep(field) else start_from(value, fields[field], f"{name}.{field}")
                for field, value in own.items()
            )
        )
    if isinstance(fresh, Mapping):
        if not isinstance(trained, Mapping) or trained.keys() - fresh.keys():
            more = sorted(trained.keys() - fresh.keys()) if isinstance(trained, Mapping) else []
            raise ConfigError(f"{name} does not fit the model (it also has: {', '.join(more)})")
        return {
            key: start_from(value, trained[key], f"{name}[{key!r}]") if key in trained else value
            for key, value in fresh.items()
        }
    if isinstance(fresh, tuple | list):
        if not isinstance(trained, tuple | list) or len(trained) != len(fresh):
            raise ConfigError(f"{name} is {shown(trained)}, must have {len(fresh)} parts")
        parts = enumerate(zip(fresh, trained, strict=True))
        return type(fresh)(start_from(a, b, f"{name}[{i}]") for i, (a, b) in parts)
    if fresh is None or trained is None:
        return fresh
    return _array(fresh, trained, name)


def _array(fresh: Any, trained: Any, name: str) -> Any:
    found, wanted = np.shape(trained), np.shape(fresh)
    if found != wanted:
        raise ConfigError(f"{name} has shape {found}, the model has {wanted}")
    return trained if trained.dtype == fresh.dtype else trained.astype(fresh.dtype)
