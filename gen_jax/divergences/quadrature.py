"""Divergences of two densities on the line or in the plane by quadrature on a grid."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from gen_jax.checks import per_point
from gen_jax.divergences.f_divergence import FDivergence, perspective
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float

LogDensity = Callable[[Array], Array]


def integrate(
    function: Callable[[Array], Array],
    low: Sequence[float],
    high: Sequence[float],
    num: int = 1001,
) -> Float[Array, ""]:
    """The integral of `x [N, D] -> [N]` over a box, D = 1 or 2, by the trapezoid rule.

    Args:
      low, high: the box's corners, D numbers each.
      num: points along each axis. The error falls with 1 / num^2, and faster than any power for a
        smooth function that vanishes with its derivatives at the box's border.
    """
    if len(low) != len(high) or len(low) not in (1, 2):
        raise ConfigError(f"the box has {len(low)} and {len(high)} sides, allowed: 1 or 2 of each")
    check_range("num", num, 2, integer=True)
    for bottom, top in zip(low, high):
        check_range("high", top, bottom, open_low=True)
    axes = [jnp.linspace(bottom, top, num) for bottom, top in zip(low, high)]
    points = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), -1)
    values = per_point("function", function)(points.reshape(-1, len(axes))).reshape(
        points.shape[:-1]
    )
    for axis in reversed(axes):
        values = jnp.trapezoid(values, axis, axis=-1)
    return values


def quadrature(
    divergence: str | FDivergence,
    log_p: LogDensity,
    log_q: LogDensity,
    low: Sequence[float],
    high: Sequence[float],
    num: int = 1001,
) -> Float[Array, ""]:
    """D_f(p || q) over a box that holds the mass of both; densities `x [N, D] -> [N]`, normalised.

    Errors and accuracy as `integrate`.
    """
    p, q = per_point("log_p", log_p), per_point("log_q", log_q)
    return integrate(lambda x: perspective(divergence, p(x), q(x)), low, high, num)
