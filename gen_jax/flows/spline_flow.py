"""The flow for known densities: autoregressive splines with one call for the density."""

from gen_jax.errors import check_choice, check_range
from gen_jax.flows.autoregressive import masked_autoregressive
from gen_jax.flows.bijector import Layer, chain
from gen_jax.flows.elementwise import ELEMENTWISE, scaled
from gen_jax.flows.permutations import interleave, reverse

SPLINES = ("linear_rational", "rational_quadratic")


def spline_flow(
    layers: int = 1,
    *,
    spline: str = "linear_rational",
    bins: int = 32,
    half_width: float = 5.0,
    hidden: tuple[int, ...] = (64, 64),
    block: int = 1,
) -> Layer:
    """`layers` masked autoregressive splines, each with an affine map of its own.

    Between them the order is reversed, or with blocks interleaved so that blocks mix.
    """
    check_range("layers", layers, 1, integer=True)
    check_choice("spline", spline, SPLINES)
    function = scaled(ELEMENTWISE[spline](bins=bins, half_width=half_width))
    one = masked_autoregressive(function, hidden, block)
    between = reverse() if block == 1 else interleave(block)
    return chain(*[part for _ in range(layers) for part in (one, between)][:-1])
