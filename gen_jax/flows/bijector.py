"""Invertible maps with log-determinants, and how they compose.

A `Bijector` is two functions of arrays; a `Layer` makes one from its parameters. `forward` goes
from the base to the data. Points are [B, D] with shape D, images [B, H, W, C] with shape (H, W, C).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.checks import check_output
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, State

Map = Callable[[Array], tuple[Array, Array]]
"""`x [B, ...] -> (y [B, ...], log |det dy/dx| [B])`."""

Shape = int | tuple[int, ...]
"""D of points, or (H, W, C) of images."""


class Bijector(NamedTuple):
    """An invertible map of [B, ...].

    Fields:
      forward: `x -> (y, log |det dy/dx| [B])`, base to data.
      inverse: `y -> (x, log |det dx/dy| [B])`.
    """

    forward: Map
    inverse: Map


def same_shape(shape: Shape) -> Shape:
    """The base has the shape of the data."""
    return shape


def keep(params: State, x: Array, condition: Array | None = None) -> State:
    """Parameters that ask nothing of the data."""
    return params


class Layer(NamedTuple):
    """A family of bijectors.

    Fields:
      init: `(key, shape, extra=0) -> params` for data of this shape and conditions of `extra`
        features; any pytree, drawn near the identity.
      bijector: `(params, condition=None) -> Bijector`; condition [B, extra] or, for images,
        [B, H, W, extra]. Layers without a network ignore it.
      base_shape: shape of the base for a shape of the data.
      start: `(params, x, condition=None) -> params` with statistics of data x (actnorm).
    """

    init: Callable[..., State]
    bijector: Callable[..., Bijector]
    base_shape: Callable[[Shape], Shape] = same_shape
    start: Callable[..., State] = keep


def start_from_data(layer: Layer, params: State, x: Array, condition: Array | None = None) -> State:
    """The parameters with every actnorm in the layer set by the data x [B, ...] (kingma2018).

    Each one sees the data as the parts between it and the data leave them; then its output has mean
    0 and variance 1 in each channel.
    """
    return layer.start(params, x, condition)


def chain(*layers: Layer) -> Layer:
    """The composition: the first layer is the nearest to the base. Parameters are a tuple."""
    if not layers:
        raise ConfigError("layers=() must name at least one layer")

    def init(key, shape, extra=0):
        base_shape(shape)  # shapes that cannot work are refused at once
        keys = jax.random.split(key, len(layers))
        params = []
        for layer, k in reversed(list(zip(layers, keys))):
            params.append(layer.init(k, shape, extra))
            shape = layer.base_shape(shape)
        return tuple(reversed(params))

    def bijector(params, condition=None):
        parts = [layer.bijector(p, condition) for layer, p in zip(layers, params)]
        forward = in_turn([part.forward for part in parts])
        return Bijector(forward, in_turn([part.inverse for part in reversed(parts)]))

    def base_shape(shape):
        for layer in reversed(layers):
            shape = layer.base_shape(shape)
        return shape

    def start(params, x, condition=None):
        begun = []
        for layer, p in reversed(list(zip(layers, params))):
            begun.append(layer.start(p, x, condition))
            x = layer.bijector(begun[-1], condition).inverse(x)[0]
        return tuple(reversed(begun))

    return Layer(init, bijector, base_shape, start)


class Guided(NamedTuple):
    """A condition [B, E] and the weight w of guidance: raw outputs r_0 + w (r - r_0), r_0 being
    those for the condition 0; w = 1 is the plain conditional flow. Only TarFlow's layers take it.
    """

    condition: Array
    weight: float | Array


def channels_of(shape: Shape) -> int:
    """C of (H, W, C), or D."""
    return shape if isinstance(shape, int) else shape[-1]


def vectors(shape: Shape) -> int:
    """D of vectors [B, D]. Raises ConfigError for the shape of images."""
    if isinstance(shape, tuple):
        raise ConfigError(
            f"shape={shape} is of images, but this layer works on vectors [B, D] (give the data "
            "as vectors, or choose flows.glow, or layers in flows.as_image)"
        )
    return shape


def in_turn(maps: list[Map]) -> Map:
    """One map after another; log-determinants add."""

    def apply(x: Float[Array, "B ..."]) -> tuple[Float[Array, "B ..."], Float[Array, "B"]]:
        total = jnp.zeros(x.shape[:1], x.dtype)
        for part in maps:
            x, log_det = part(x)
            total = total + check_output("a bijector's log_det", log_det, total.shape)
        return x, total

    return apply


def invert(layer: Layer) -> Layer:
    """The same family with forward and inverse exchanged.

    `init` raises ConfigError for a layer that changes the shape.
    """

    def init(key, shape, extra=0):
        if layer.base_shape(shape) != shape:
            raise ConfigError(f"invert: the layer changes the shape {shape}")
        return layer.init(key, shape, extra)

    def bijector(params, condition=None):
        forward, inverse = layer.bijector(params, condition)
        return Bijector(inverse, forward)

    return Layer(init, bijector)


def with_condition(
    x: Float[Array, "B ..."], condition: Float[Array, "B ..."] | Guided | None
) -> Float[Array, "B ..."]:
    """x with the condition as further features; a vector [B, E] is repeated at every pixel."""
    if condition is None:
        return x
    if isinstance(condition, Guided):
        raise ConfigError("guidance is for TarFlow; this flow has a layer that cannot be guided")
    if condition.ndim < x.ndim:
        middle = (1,) * (x.ndim - condition.ndim)
        condition = condition.reshape(len(condition), *middle, condition.shape[-1])
        condition = jnp.broadcast_to(condition, (*x.shape[:-1], condition.shape[-1]))
    return jnp.concatenate([x, condition.astype(x.dtype)], -1)
