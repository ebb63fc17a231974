"""Increasing functions of one number with given parameters: what coupling and autoregressive
layers apply to each coordinate; and layers that learn the parameters themselves.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import check_choice, check_range
from gen_jax.flows import splines
from gen_jax.flows.bijector import Bijector, Layer, vectors
from gen_jax.types import Array


class Elementwise(NamedTuple):
    """An increasing function with `size` raw parameters; all zero, it is the identity.

    Fields:
      size: P.
      forward, inverse: `(x [...], raw [..., P]) -> (y [...], log dy/dx [...])`.
    """

    size: int
    forward: Callable[[Array, Array], tuple[Array, Array]]
    inverse: Callable[[Array, Array], tuple[Array, Array]]


def shift() -> Elementwise:
    """y = x + t (dinh2015)."""
    unit = lambda sign: lambda x, raw: (x + sign * raw[..., 0], jnp.zeros_like(x))
    return Elementwise(1, unit(1), unit(-1))


def _affine(log_scale: Callable[[Array], Array]) -> Elementwise:
    """y = x e^s + t with s of the raw parameters."""

    def forward(x, raw):
        s = log_scale(raw)
        return x * jnp.exp(s) + raw[..., 0], s

    def inverse(y, raw):
        s = log_scale(raw)
        return (y - raw[..., 0]) * jnp.exp(-s), -s

    return Elementwise(2, forward, inverse)


def affine(bound: float = 3.0) -> Elementwise:
    """y = x e^s + t with |s| < bound: s = bound tanh(raw / bound) (dinh2017)."""
    check_range("bound", bound, 0, open_low=True)
    return _affine(lambda raw: bound * jnp.tanh(raw[..., 1] / bound))


def gated(floor: float = 1e-3) -> Elementwise:
    """y = x e^s + t with e^-s = g(raw) / g(0), g(raw) = floor + (1 - floor) sigmoid(raw + 2).

    On the way to the base no coordinate grows by more than 14 %, whatever the network says, so that
    deep stacks do not blow up in training (the form of the code of kingma2018); on the way to the
    data none grows by more than 0.9 / floor.
    """
    check_range("floor", floor, 0, 0.5, open_low=True)
    gate = lambda raw: floor + (1 - floor) * jax.nn.sigmoid(raw + 2)
    start = math.log(floor + (1 - floor) / (1 + math.exp(-2)))
    return _affine(lambda raw: start - jnp.log(gate(raw[..., 1])))


def rational_quadratic(bins: int = 32, half_width: float = 5.0) -> Elementwise:
    """The spline of durkan2019 on [-half_width, half_width], the identity outside."""
    return _spline(splines.rational_quadratic, bins, half_width, 3 * bins - 1)


def linear_rational(bins: int = 32, half_width: float = 5.0) -> Elementwise:
    """The spline of dolatabadi2020 on [-half_width, half_width], the identity outside."""
    return _spline(splines.linear_rational, bins, half_width, 4 * bins - 1)


def _spline(function: Callable, bins: int, half_width: float, size: int) -> Elementwise:
    check_range("bins", bins, 2, int(0.5 / splines.MIN_BIN), integer=True)
    check_range("half_width", half_width, 0, open_low=True)
    apply = lambda inverse: partial(function, half_width=half_width, inverse=inverse)
    return Elementwise(size, apply(False), apply(True))


def scaled(inner: Elementwise, bound: float = 3.0) -> Elementwise:
    """`inner` followed by an affine map of its own: a spline whose image is not its box."""
    outer = affine(bound)

    def forward(x, raw):
        y, first = inner.forward(x, raw[..., 2:])
        y, second = outer.forward(y, raw[..., :2])
        return y, first + second

    def inverse(y, raw):
        x, first = outer.inverse(y, raw[..., :2])
        x, second = inner.inverse(x, raw[..., 2:])
        return x, first + second

    return Elementwise(2 + inner.size, forward, inverse)


ELEMENTWISE: dict[str, Callable[..., Elementwise]] = {
    "shift": shift,
    "affine": affine,
    "gated": gated,
    "rational_quadratic": rational_quadratic,
    "linear_rational": linear_rational,
}
"""Every elementwise map by name."""


def make_elementwise(name: str, **options) -> Elementwise:
    """A map of ELEMENTWISE. Raises ConfigError for unknown names and values out of range."""
    return ELEMENTWISE[check_choice("elementwise", name, ELEMENTWISE)](**options)


def free(function: Elementwise) -> Layer:
    """Each coordinate has parameters of its own [D, P], zero (the identity) at first."""

    def init(key, dim, extra=0):
        return jnp.zeros((vectors(dim), function.size))

    def bijector(params, condition=None):
        def apply(one):
            def run(x):
                raw = jnp.broadcast_to(params.astype(x.dtype), (len(x), *params.shape))
                y, log_slope = one(x, raw)
                return y, log_slope.sum(-1)

            return run

        return Bijector(apply(function.forward), apply(function.inverse))

    return Layer(init, bijector)
