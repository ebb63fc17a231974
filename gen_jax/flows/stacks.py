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
from gen_jax.registries import described

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
    "nice": described("Additive couplings in turn (dinh2015).", _couplings(shift())),
    "realnvp": described("Affine couplings in turn (dinh2017).", _couplings(affine())),
    "rational_quadratic": described(
        "Spline couplings in turn (durkan2019).", _couplings(scaled(rational_quadratic(16)))
    ),
    "linear_rational": described(
        "Spline couplings in turn (dolatabadi2020).", _couplings(scaled(linear_rational(16)))
    ),
    "maf": described(
        "Masked autoregressive affine maps (papamakarios2017).",
        _autoregressive(masked_autoregressive, affine()),
    ),
    "iaf": described(
        "Inverse autoregressive affine maps (kingma2016): slow densities.",
        _autoregressive(inverse_autoregressive, affine()),
    ),
    "spline_maf": described(
        "Masked autoregressive splines (durkan2019).",
        _autoregressive(masked_autoregressive, scaled(rational_quadratic(16))),
    ),
    "planar": described(
        "Bends along directions (rezende2015), with quick densities.", _bends(planar())
    ),
    "radial": described(
        "Swellings around points (rezende2015), with quick densities.", _bends(radial())
    ),
}
"""`FLOWS[name](layers, hidden)`; `hidden` are the widths of each layer's network, if it has one."""


def make_flow(name: str, layers: int = 8, hidden: tuple[int, ...] = (64, 64)) -> Layer:
    """A flow of FLOWS with its actnorms. Raises ConfigError for unknown names, layers < 1."""
    check_range("layers", layers, 1, integer=True)
    return FLOWS[check_choice("flow", name, FLOWS)](layers, hidden)
