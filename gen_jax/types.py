"""Names for the arrays and callables that the whole package passes around.

Notation: B batch, D dimensions of one example, N data points, H W C image axes, K classes.
Times `t` run from 0 (data) to 1 (noise).
"""

from collections.abc import Callable, Mapping
from typing import Any

from jax import Array
from jaxtyping import Bool, Complex, Float, Int, Key, Num, Shaped, UInt8

State = Any
"""Any pytree of arrays."""

Batch = Mapping[str, Array]
"""`{"x": [B, ...]}` and, when there are labels, `"y"` [B]."""

Metrics = dict[str, Array]
"""Scalars by name."""

Denoiser = Callable[[Array, Array], Array]
"""`denoise(x [B, ...], t [B]) -> E[x0 | x_t = x]` [B, ...]."""

__all__ = [
    "Array",
    "Batch",
    "Bool",
    "Complex",
    "Denoiser",
    "Float",
    "Int",
    "Key",
    "Metrics",
    "Num",
    "Shaped",
    "State",
    "UInt8",
]
