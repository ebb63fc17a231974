"""Normalizing flows: invertible maps with log-determinants, forward from the base to the data.

A `Layer` has explicit parameters: `layer.bijector(params).forward(x)` gives (y, log_det).
"""

from collections.abc import Callable

from gen_jax.errors import check_choice
from gen_jax.flows.autoregressive import (
    INVERSIONS,
    inverse_autoregressive,
    masked_autoregressive,
)
from gen_jax.flows.bijector import Bijector, Layer, chain, invert
from gen_jax.flows.coupling import MASKS, coupling
from gen_jax.flows.elementwise import (
    ELEMENTWISE,
    Elementwise,
    affine,
    free,
    linear_rational,
    make_elementwise,
    rational_quadratic,
    scaled,
    shift,
)
from gen_jax.flows.permutations import interleave, reverse, shuffle
from gen_jax.flows.spline_flow import spline_flow

BIJECTORS: dict[str, Callable[[], Layer]] = {
    "affine": lambda: free(affine()),
    "rational_quadratic": lambda: free(rational_quadratic()),
    "linear_rational": lambda: free(linear_rational()),
    "additive_coupling": lambda: coupling(shift()),
    "affine_coupling": lambda: coupling(affine(), mask="even"),
    "rational_quadratic_coupling": lambda: coupling(rational_quadratic(8), mask="second_half"),
    "linear_rational_coupling": lambda: coupling(linear_rational(8), mask="odd"),
    "masked_autoregressive": lambda: masked_autoregressive(affine()),
    "inverse_autoregressive": lambda: inverse_autoregressive(affine()),
    "rational_quadratic_autoregressive": lambda: masked_autoregressive(rational_quadratic(8)),
    "linear_rational_autoregressive": lambda: masked_autoregressive(scaled(linear_rational(8))),
    "block_autoregressive": lambda: masked_autoregressive(linear_rational(8), block=2),
    "jacobi_autoregressive": lambda: masked_autoregressive(affine(), inversion="jacobi"),
    "reverse": reverse,
    "interleave": interleave,
    "shuffle": shuffle,
}
"""Every kind of layer by name, at small sizes."""


def make_bijector(name: str) -> Layer:
    """A layer of BIJECTORS. Raises ConfigError for unknown names."""
    return BIJECTORS[check_choice("bijector", name, BIJECTORS)]()


__all__ = [
    "BIJECTORS",
    "ELEMENTWISE",
    "INVERSIONS",
    "MASKS",
    "Bijector",
    "Elementwise",
    "Layer",
    "affine",
    "chain",
    "coupling",
    "free",
    "interleave",
    "inverse_autoregressive",
    "invert",
    "linear_rational",
    "make_bijector",
    "make_elementwise",
    "masked_autoregressive",
    "rational_quadratic",
    "reverse",
    "scaled",
    "shift",
    "shuffle",
    "spline_flow",
]
