"""Between a model's data units and vectors: what every classical `GenerativeModel` shares."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Key, Shaped

Data = Shaped[Array | np.ndarray, "B ..."]
"""A batch in data units."""


class Units(NamedTuple):
    """shape: of one encoded example; transform: a `data.Transform`, or None for none."""

    shape: tuple[int, ...]
    transform: Any = None


def encode(units: Units, key: Key[Array, "*batch"], x: Data) -> Float[Array, "B ..."]:
    """Data units to u [B, *shape]. Raises ConfigError when they do not fit the shape."""
    u = jnp.asarray(units.transform.encode(key, x) if units.transform else x)
    if u.shape[1:] != tuple(units.shape):
        raise ConfigError(f"data of shape {u.shape[1:]} does not fit shape={units.shape}")
    return u


def decode(units: Units, u: Float[Array, "B ..."]) -> Array:
    """Encoded examples, or their vectors [B, D], to data units."""
    u = u.reshape(-1, *units.shape)
    return units.transform.decode(u) if units.transform else u


def encode_vectors(units: Units, key: Key[Array, "*batch"], x: Data) -> Float[Array, "B D"]:
    """Data units to vectors."""
    return encode(units, key, x).reshape(x.shape[0], math.prod(units.shape))


def log_prob_in_units(
    units: Units, log_prob: Callable[[Array], Array], key: Key[Array, "*batch"], x: Data
) -> Float[Array, "B"]:
    """log p(x) in nats and data units from `log_prob(u [B, *shape]) -> [B]`."""
    u = encode(units, key, x)
    change = units.transform.log_det(u) if units.transform else jnp.zeros(u.shape[:1], u.dtype)
    return log_prob(u) + change
