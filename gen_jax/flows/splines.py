"""Monotone splines of rational functions on a box, linear outside: one knot more than bins.

Widths, heights and slopes come from raw parameters through softmax and softplus, so that zeros give
the identity and every bin has a width, a height and slopes of at least 1e-3 (of the box, and of 1).
Each function works on x [...] with raw parameters [..., P] and returns (y, log dy/dx) [...].
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax import safe
from gen_jax.types import Array, Bool, Float

MIN_BIN, MIN_SLOPE, MIN_LAMBDA = 1e-3, 1e-3, 0.025


class Bin(NamedTuple):
    """The bin of each point: left lower corner, size, slopes at its ends, and the fourth number.

    Slopes are in units of the bin's own height / width. `split` is the linear-rational spline's
    lambda, where its two pieces meet.
    """

    x: Float[Array, "..."]
    y: Float[Array, "..."]
    width: Float[Array, "..."]
    height: Float[Array, "..."]
    left: Float[Array, "..."]
    right: Float[Array, "..."]
    split: Float[Array, "..."]


def rational_quadratic(
    x: Float[Array, "..."], raw: Float[Array, "... P"], half_width: float, *, inverse: bool = False
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The spline of durkan2019 (gregory1982) with P = 3 bins - 1, on [-half_width, half_width]."""
    bins = (raw.shape[-1] + 1) // 3
    solve = _quadratic_inverse if inverse else _quadratic
    return _on_box(x, raw, bins, half_width, inverse, solve)


def linear_rational(
    x: Float[Array, "..."], raw: Float[Array, "... P"], half_width: float, *, inverse: bool = False
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The spline of dolatabadi2020 with P = 4 bins - 1: two linear fractions in each bin."""
    bins = (raw.shape[-1] + 1) // 4
    solve = _linear_inverse if inverse else _linear
    return _on_box(x, raw, bins, half_width, inverse, solve)


def _on_box(x, raw, bins: int, half_width: float, inverse: bool, solve: Callable):
    inside = jnp.abs(x) < half_width
    # The point where the spline is evaluated must lie in the box even when its value is not used:
    # a NaN there would pass through the gradient of `where`.
    within = jnp.where(inside, x, 0)
    part = _bins(within, raw, bins, half_width, inverse)
    start, size = (part.y, part.height) if inverse else (part.x, part.width)
    share, log_slope = solve(safe.clip((within - start) / size, 0, 1), part)
    # Slopes come in units of the bin.
    scale = jnp.log(part.height) - jnp.log(part.width)
    if inverse:
        y, log_slope = part.x + part.width * share, -(log_slope + scale)
    else:
        y, log_slope = part.y + part.height * share, log_slope + scale
    return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0)


def _bins(x: Array, raw: Array, bins: int, half_width: float, inverse: bool) -> Bin:
    """The bin of each point. Sums over masks instead of gathers: their gradient is no scatter."""
    raw_width, raw_height, raw_slope, raw_split = jnp.split(
        raw, [bins, 2 * bins, 3 * bins - 1], axis=-1
    )
    share = lambda raw: MIN_BIN + (1 - bins * MIN_BIN) * jax.nn.softmax(raw, axis=-1)
    widths, heights = 2 * half_width * share(raw_width), 2 * half_width * share(raw_height)
    one = math.log(math.expm1(1 - MIN_SLOPE))
    slopes = MIN_SLOPE + jax.nn.softplus(raw_slope + one)
    left, here = _locate(x, heights if inverse else widths, half_width)
    pick = lambda mask, values: jnp.sum(jnp.where(mask, values, 0), -1)
    width, height = pick(here, widths), pick(here, heights)
    # Slopes stand at the inner knots; those of the box's ends are 1.
    one_if = lambda mask: mask.astype(x.dtype)
    start = pick(here[..., 1:], slopes) + one_if(here[..., 0])
    end = pick(here[..., :-1], slopes) + one_if(here[..., -1])
    split = jnp.full_like(x, 0.5)
    if raw_split.shape[-1]:
        split = MIN_LAMBDA + (1 - 2 * MIN_LAMBDA) * jax.nn.sigmoid(pick(here, raw_split))
    corner = lambda sizes: pick(left, sizes) - half_width
    ratio = width / height
    return Bin(corner(widths), corner(heights), width, height, start * ratio, end * ratio, split)


def _locate(
    x: Array, sizes: Array, half_width: float
) -> tuple[Bool[Array, "... K"], Bool[Array, "... K"]]:
    """Masks [..., K] of the bins left of x and of the bin that holds it."""
    bins = sizes.shape[-1]
    upto = jnp.triu(jnp.ones((bins, bins), x.dtype))
    edges = jax.lax.stop_gradient(jnp.matmul(sizes, upto, precision="highest")) - half_width
    # The last edge is the box's end, whatever rounding says.
    left = (x[..., None] >= edges) & (jnp.arange(bins) < bins - 1)
    before = jnp.concatenate([jnp.ones_like(left[..., :1]), left[..., :-1]], -1)
    return left, before & ~left


def _quadratic(share: Array, part: Bin) -> tuple[Array, Array]:
    """durkan2019 eq. 19 and 22 in the unit bin, where its mean slope is 1."""
    rest = share * (1 - share)
    below = 1 + (part.left + part.right - 2) * rest
    y = (share**2 + part.left * rest) / below
    slope = part.right * share**2 + 2 * rest + part.left * (1 - share) ** 2
    return y, jnp.log(slope) - 2 * jnp.log(below)


def _quadratic_inverse(y: Array, part: Bin) -> tuple[Array, Array]:
    """durkan2019 eq. 24 to 26: the root without cancellation; the slope is the forward one."""
    excess = part.left + part.right - 2
    a, b, c = 1 - part.left + y * excess, part.left - y * excess, -y
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 1e-30))
    share = safe.clip(-2 * c / (b + root), 0, 1)
    return share, _quadratic(share, part)[1]


class _Fractions(NamedTuple):
    """The unit bin of dolatabadi2020: the middle knot's height, and weights at the three knots."""

    height: Array
    start: Array
    middle: Array
    end: Array


def _fractions(part: Bin) -> _Fractions:
    start, split = jnp.ones_like(part.left), part.split
    end = jnp.sqrt(part.left / part.right)
    middle = split * start * part.left + (1 - split) * end * part.right
    height = split * end / ((1 - split) * start + split * end)
    return _Fractions(height, start, middle, end)


def _sides(value: Array, middle: Array) -> tuple[Array, Array]:
    """The smaller and the larger; on the middle the first is the value, and so is its gradient."""
    first = value <= middle
    return jnp.where(first, value, middle), jnp.where(first, middle, value)


def _linear(share: Array, part: Bin) -> tuple[Array, Array]:
    """dolatabadi2020, algorithm 1, in the unit bin."""
    f, split = _fractions(part), part.split
    first = share <= split
    low, high = _sides(share, split)
    below = jnp.where(
        first,
        f.start * (split - low) + f.middle * low,
        f.middle * (1 - high) + f.end * (high - split),
    )
    above = jnp.where(
        first, f.middle * f.height * low, f.middle * f.height * (1 - high) + f.end * (high - split)
    )
    return above / below, _linear_log_slope(f, split, first, below)


def _linear_log_slope(f: _Fractions, split: Array, first: Array, below: Array) -> Array:
    outer = jnp.where(first, split * f.start * f.height, (1 - split) * f.end * (1 - f.height))
    return jnp.log(outer) + jnp.log(f.middle) - 2 * jnp.log(below)


def _linear_inverse(y: Array, part: Bin) -> tuple[Array, Array]:
    """The inverse is linear-rational too; the slope is the forward one."""
    f, split = _fractions(part), part.split
    first = y <= f.height
    low, high = _sides(y, f.height)
    above = jnp.where(
        first, split * f.start * low, f.middle * (high - f.height) + split * f.end * (1 - high)
    )
    below = jnp.where(
        first,
        f.start * low + f.middle * (f.height - low),
        f.middle * (high - f.height) + f.end * (1 - high),
    )
    share = safe.clip(above / below, 0, 1)
    return share, _linear(share, part)[1]
