"""Whole flows of points by name: layers in turn, with orders and masks that reach everything."""

from collections.abc import Callable

from gen_jax.errors import check_choice, check_range
from gen_jax.flows.actnorm import actnorm
from gen_jax.flows.autoregressive import inverse_autoregressive, masked_autoregressive
from gen_jax.flows.bijector import Layer, chain, invert
from gen_jax.flows.coupling import coupling
from gen_jax.flows.elementwise import (
    Elementwise,
    affine,
    linear_rational,
    rational_quadratic,
    scaled,
    shift,
)
from gen_jax.flows.permutations import reverse
from gen_jax.flows.planar import planar
from gen_jax.flows.radial import radial

Stack = Callable[[int, tuple[int, ...]], Layer]


def _couplings(function: Elementwise) -> Stack:
    def make(layers, hidden):
        masks = ["even" if i % 2 == 0 else "odd" for i in range(layers)]
        parts = [(coupling(function, mask, hidden), actnorm()) for mask in masks]
        return chain(*[part for pair in parts for part in pair])

    return make


def _autoregressive(one: Callable[..., Layer], function: Elementwise) -> Stack:
    def make(layers, hidden):
        parts = (one(function, hidden), actnorm(), reverse())
        return chain(*(parts * layers)[:-1])

    return make


def _bends(one: Layer) -> Stack:
    """The density in closed form; actnorm only next to the data."""
    return lambda layers, hidden: chain(*[invert(one)] * layers, actnorm())


FLOWS: dict[str, Stack] = {
    "nice": _couplings(shift()),
    "realnvp": _couplings(affine()),
    "rational_quadratic": _couplings(scaled(rational_quadratic(16))),
    "linear_rational": _couplings(scaled(linear_rational(16))),
    "maf": _autoregressive(masked_autoregressive, affine()),
    "iaf": _autoregressive(inverse_autoregressive, affine()),
    "spline_maf": _autoregressive(masked_autoregressive, scaled(rational_quadratic(16))),
    "planar": _bends(planar()),
    "radial": _bends(radial()),
}
"""`FLOWS[name](layers, hidden)`; `hidden` are the widths of each layer's network, if it has one."""


def make_flow(name: str, layers: int = 8, hidden: tuple[int, ...] = (64, 64)) -> Layer:
    """A flow of FLOWS with its actnorms. Raises ConfigError for unknown names, layers < 1."""
    check_range("layers", layers, 1, integer=True)
    return FLOWS[check_choice("flow", name, FLOWS)](layers, hidden)
