"""Invertible maps with log-determinants, and how they compose.

A `Bijector` is two functions of arrays; a `Layer` makes one from its parameters. `forward` goes
from the base to the data.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, State

Map = Callable[[Array], tuple[Array, Array]]
"""`x [B, D] -> (y [B, D], log |det dy/dx| [B])`."""


class Bijector(NamedTuple):
    """An invertible map of [B, D].

    Fields:
      forward: `x -> (y, log |det dy/dx| [B])`, base to data.
      inverse: `y -> (x, log |det dx/dy| [B])`.
    """

    forward: Map
    inverse: Map


class Layer(NamedTuple):
    """A family of bijectors.

    Fields:
      init: `(key, dim) -> params`; any pytree, drawn near the identity.
      bijector: `params -> Bijector`.
    """

    init: Callable[..., State]
    bijector: Callable[[State], Bijector]


def chain(*layers: Layer) -> Layer:
    """The composition: the first layer is the nearest to the base. Parameters are a tuple."""
    if not layers:
        raise ConfigError("layers=() must name at least one layer")

    def init(key, dim):
        keys = jax.random.split(key, len(layers))
        return tuple(layer.init(k, dim) for layer, k in zip(layers, keys))

    def bijector(params):
        parts = [layer.bijector(p) for layer, p in zip(layers, params)]
        forward = in_turn([part.forward for part in parts])
        return Bijector(forward, in_turn([part.inverse for part in reversed(parts)]))

    return Layer(init, bijector)


def in_turn(maps: list[Map]) -> Map:
    """One map after another; log-determinants add."""

    def apply(x: Float[Array, "B D"]) -> tuple[Float[Array, "B D"], Float[Array, "B"]]:
        total = jnp.zeros(x.shape[:1], x.dtype)
        for part in maps:
            x, log_det = part(x)
            total = total + log_det
        return x, total

    return apply


def invert(layer: Layer) -> Layer:
    """The same family with forward and inverse exchanged."""

    def bijector(params):
        forward, inverse = layer.bijector(params)
        return Bijector(inverse, forward)

    return Layer(layer.init, bijector)
