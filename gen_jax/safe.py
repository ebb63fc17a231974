"""Functions whose derivatives at the ends do not spoil a gradient.

Logarithm, root, length and absolute value have the derivative 0 where the argument is 0. The plain
ones have an infinite derivative there, or none, and `jax.grad` makes NaN of it as soon as the chain
rule multiplies it by 0: of a probability that underflowed, of a distance of nothing.

`clip` has the derivative 1 where jnp.clip is between two: at a bound a minimum or a maximum is a
tie, and `jax.grad` halves a tie.
"""

import jax
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


def root(x: Float[Array, "..."], p: float) -> Float[Array, "..."]:
    """x^(1/p), p >= 1; of p = 1 x itself."""
    if p == 1:
        return x
    zero = x == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, x) ** (1 / p))


def absolute(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """|x|, whose derivative at 0 is not 1, as jnp.abs's."""
    return x * jax.lax.stop_gradient(jnp.sign(x))


def length(x: Float[Array, "... D"], keepdims: bool = False) -> Float[Array, "..."]:
    """|x| along the last axis."""
    return sqrt(jnp.sum(x**2, -1, keepdims=keepdims))


def clip(x: Float[Array, "..."], low: float, high: float) -> Float[Array, "..."]:
    """x, at least low and at most high, with the derivative 1 everywhere.

    For numbers that only rounding puts outside.
    """
    return x + jax.lax.stop_gradient(jnp.clip(x, low, high) - x)
