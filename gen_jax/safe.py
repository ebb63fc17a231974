"""Logarithm, root and length with the derivative 0 where the argument is 0.

The plain ones have an infinite derivative there, or none, and `jax.grad` makes NaN of it as soon as
the chain rule multiplies it by 0: of a probability that underflowed, of a distance of nothing.
"""

import jax.numpy as jnp

from gen_jax.types import Array, Float


def log(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log x, and -inf at 0."""
    zero = x == 0
    return jnp.where(zero, -jnp.inf, jnp.log(jnp.where(zero, 1, x)))


def sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x^1/2."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))


def length(x: Float[Array, "... D"], keepdims: bool = False) -> Float[Array, "..."]:
    """|x| along the last axis."""
    return sqrt(jnp.sum(x**2, -1, keepdims=keepdims))
