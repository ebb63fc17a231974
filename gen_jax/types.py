"""Names for the arrays and callables that the whole package passes around.

Notation: B batch, D dimensions of one example, N data points, H W C image axes, K classes.
Times `t` run from 0 (data) to 1 (noise).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax import Array
from jaxtyping import Bool, Complex, Float, Int, Key, Num, Shaped, UInt, UInt8

State = Any
"""Any pytree of arrays."""

Batch = Mapping[str, Array]
"""`{"x": [B, ...]}` and, when there are labels, `"y"` [B]."""

Metrics = dict[str, Array]
"""Scalars by name."""

Denoiser = Callable[[Array, Array], Array]
"""`denoise(x [B, ...], t [B]) -> E[x0 | x_t = x]` [B, ...]."""

AverageVelocity = Callable[[Array, Array, Array], Array]
"""`U(x [B, ...], t [B], s [B])` with x + (s - t) U = x_s; U(x, t, t) is the velocity."""

FlowMap = Callable[[Array, Array, Array], Array]
"""`X(x [B, ...], t [B], s [B]) -> x_s [B, ...]`: the point at time s <= t of the flow through x."""

TokenDenoiser = Callable[[Array, Array], Array]
"""`denoise(x_t int [B, N], t [B]) -> log p(x0_i = v | x_t)` [B, N, V]."""


class Estimate(NamedTuple):
    """A value and its standard error, in the same units: numbers, or arrays of one shape."""

    value: Any
    error: Any

    def __str__(self) -> str:
        """Of numbers, to the place of the error's second digit: `3.14 +- 0.25`."""
        value, error = float(self.value), float(self.error)
        if not (math.isfinite(error) and error > 0):
            return f"{value:.4g}"
        digits = max(0, 1 - math.floor(math.log10(error)))
        return f"{value:.{digits}f} +- {error:.{digits}f}"


__all__ = [
    "Array",
    "AverageVelocity",
    "Batch",
    "Bool",
    "Complex",
    "Denoiser",
    "Estimate",
    "Float",
    "FlowMap",
    "Int",
    "Key",
    "Metrics",
    "Num",
    "Shaped",
    "State",
    "TokenDenoiser",
    "UInt",
    "UInt8",
]
