"""Inverse transform sampling: X = F^-1(U) has distribution function F (devroye1986; S2).

Three ways to the inverse: in closed form (`QUANTILES`), from a table by interpolation, and by
bisection of any monotone F. All take uniforms in (0, 1) of any shape. Where F is flat or jumps,
F^-1(u) is the generalised inverse, the smallest x with F(x) >= u.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from gen_jax.annotations import floats
from gen_jax.checks import as_floats, check_output, check_per_point
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float

Number = float | Float[Array, "..."]


@floats(u="...")
def uniform(u: Float[Array, "..."], low: Number = 0.0, high: Number = 1.0) -> Float[Array, "..."]:
    """Uniform on (low, high)."""
    return low + (high - low) * u


@floats(u="...")
def exponential(u: Float[Array, "..."], rate: Number = 1.0) -> Float[Array, "..."]:
    """-log(1 - u) / rate; density rate e^(-rate x) on x > 0."""
    return -jnp.log1p(-u) / rate


@floats(u="...")
def logistic(u: Float[Array, "..."], loc: Number = 0.0, scale: Number = 1.0) -> Float[Array, "..."]:
    """loc + scale log(u / (1 - u)); F = sigmoid((x - loc) / scale)."""
    return loc + scale * (jnp.log(u) - jnp.log1p(-u))


@floats(u="...")
def cauchy(u: Float[Array, "..."], loc: Number = 0.0, scale: Number = 1.0) -> Float[Array, "..."]:
    """loc + scale tan(pi (u - 1/2)), as a cotangent of the nearer end to keep the tails' digits."""
    tail = 1 / jnp.tan(jnp.pi * jnp.where(u < 0.5, u, 1 - u))  # a minimum has no slope at the tie
    return loc + scale * jnp.where(u < 0.5, -tail, tail)


@floats(u="...")
def laplace(u: Float[Array, "..."], loc: Number = 0.0, scale: Number = 1.0) -> Float[Array, "..."]:
    """loc + scale log(2 u) below the median, loc - scale log(2 (1 - u)) above."""
    tail = jnp.log(2 * jnp.where(u < 0.5, u, 1 - u))
    return loc + scale * jnp.where(u < 0.5, tail, -tail)


@floats(u="...")
def gumbel(u: Float[Array, "..."], loc: Number = 0.0, scale: Number = 1.0) -> Float[Array, "..."]:
    """loc - scale log(-log u): the law of the largest of many."""
    return loc - scale * jnp.log(-jnp.log(u))


@floats(u="...")
def weibull(u: Float[Array, "..."], shape: Number, scale: Number = 1.0) -> Float[Array, "..."]:
    """scale (-log(1 - u))^(1 / shape)."""
    return scale * (-jnp.log1p(-u)) ** (1 / shape)


@floats(u="...")
def pareto(u: Float[Array, "..."], shape: Number, scale: Number = 1.0) -> Float[Array, "..."]:
    """scale (1 - u)^(-1 / shape), x > scale."""
    return scale * jnp.exp(-jnp.log1p(-u) / shape)


@floats(u="...")
def normal(u: Float[Array, "..."], mean: Number = 0.0, std: Number = 1.0) -> Float[Array, "..."]:
    """mean + std Phi^-1(u), by jax's rational approximation."""
    return mean + std * ndtri(u)


QUANTILES: dict[str, Callable[..., Array]] = {
    "uniform": uniform,
    "exponential": exponential,
    "logistic": logistic,
    "cauchy": cauchy,
    "laplace": laplace,
    "gumbel": gumbel,
    "weibull": weibull,
    "pareto": pareto,
    "normal": normal,
}
"""`QUANTILES[name](u, **parameters) -> x`: inverse distribution functions in closed form."""


class Table(NamedTuple):
    """F at the points of a rising grid: `cdf[0] = 0`, `cdf[-1] = 1`, linear in between."""

    grid: Float[Array, "N"]
    cdf: Float[Array, "N"]


def tabulate(
    log_density: Callable[[Array], Array], low: float, high: float, num: int = 4096
) -> Table:
    """The distribution function of a density on [low, high], by the trapezoid rule.

    Args:
      log_density: `x [N] -> [N]`; need not be normalised.
      num: cells; the error of F falls with 1 / num^2.
    Raises ConfigError unless low < high and num >= 1, and for a density that is 0 everywhere,
    infinite or NaN.
    """
    num = int(check_range("num", num, 1, integer=True))
    check_range("high", high, low, open_low=True)
    grid = jnp.linspace(low, high, num + 1)
    log_values = check_per_point("log_density", log_density(grid), num + 1)
    if not isinstance(log_values, jax.core.Tracer):
        largest = np.asarray(log_values, np.float64).max()
        if not np.isfinite(largest):
            raise ConfigError(f"log_density has the maximum {largest} on [{low}, {high}]")
    values = jnp.exp(log_values - jnp.max(log_values))
    cumulative = jnp.cumsum((values[1:] + values[:-1]) / 2)
    cdf = jnp.concatenate([jnp.zeros(1, grid.dtype), cumulative / cumulative[-1]])
    return Table(grid, cdf)


@floats(u="...")
def from_table(u: Float[Array, "..."], table: Table) -> Float[Array, "..."]:
    """F^-1(u) by linear interpolation: within each cell the density is constant."""
    grid, cdf = (as_floats(f"table.{name}", part) for name, part in zip(Table._fields, table))
    if grid.ndim != 1 or grid.shape != cdf.shape or len(grid) < 2:
        raise ConfigError(f"table has shapes {grid.shape} and {cdf.shape}, allowed: one [N], N > 1")
    right = jnp.clip(jnp.searchsorted(cdf, u, side="left"), 1, len(grid) - 1)
    left = right - 1
    rise = cdf[right] - cdf[left]
    share = jnp.where(rise > 0, (u - cdf[left]) / jnp.where(rise > 0, rise, 1), 0)
    # Not jnp.clip, which halves the slope at the ends, and every point of the grid is one.
    share = jnp.where(share < 0, 0, jnp.where(share > 1, 1, share))
    return grid[left] + share * (grid[right] - grid[left])


@floats(u="...")
def bisect(
    cdf: Callable[[Array], Array],
    u: Float[Array, "..."],
    low: Number,
    high: Number,
    iterations: int = 60,
) -> Float[Array, "..."]:
    """F^-1(u) in [low, high] by halving the bracket, for any F that does not fall.

    Args:
      cdf: `x -> F(x)`, elementwise on arrays of u's shape.
      low, high: the bracket; where F^-1(u) lies outside, the nearer end comes back.
      iterations: the bracket shrinks by 2^-iterations, float32's limit being near 30.
    Passes no gradient to u. Raises ConfigError for iterations < 1.
    """
    check_range("iterations", iterations, 1, integer=True)
    full = lambda end: jnp.broadcast_to(jnp.asarray(end, u.dtype), u.shape)

    def halve(_, bracket):
        low, high = bracket
        middle = low + (high - low) / 2
        below = check_output("cdf", cdf(middle), u.shape) < u
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    return jax.lax.fori_loop(0, iterations, halve, (full(low), full(high)))[1]
