"""How the value of a condition enters a generator or a critic as a vector."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from gen_jax.conditions import one_hot
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float


class Mixed(NamedTuple):
    """A value between two of a condition: networks take weight first + (1 - weight) second.

    The sum is that of the vectors that stand for the values (reed2016, eq. 5).

    Fields:
      first, second: values [B, ...].
      weight: a number, or one for each example [B].
    """

    first: Any
    second: Any
    weight: Any = 0.5


def mixed_vectors(vector: Callable[[Any], Array], value: Any) -> Float[Array, "B E"]:
    """`vector(value)`; for a `Mixed` the sum of the vectors of both values."""
    if not isinstance(value, Mixed):
        return vector(value)
    first, second = vector(value.first), vector(value.second)
    weight = jnp.broadcast_to(jnp.asarray(value.weight), first.shape[:1])[:, None]
    return weight * first + (1 - weight) * second


def condition_vector(condition: Any, size: int, count: int) -> Float[Array, "B E"] | None:
    """[B, size]: one-hot rows of integer labels, vectors (of a text, say) as they are.

    Args:
      condition: [B] or [B, size], or a `Mixed` of these; None for rows of zeros.
      size: number of classes or entries of the vectors; 0 for none, and then the result is None.
      count: B.
    Raises ConfigError for a condition that is not wanted or no array, and for vectors of another
    size.
    """
    if size == 0 and condition is not None:
        raise ConfigError("a condition was given to a network with num_classes=0")
    if size == 0:
        return None
    if condition is None:
        return jnp.zeros((count, size))
    return mixed_vectors(lambda value: _vector(value, size), condition)


def _vector(value: Any, size: int) -> Float[Array, "B E"]:
    if not hasattr(value, "dtype"):
        raise ConfigError(
            f"condition is a {type(value).__name__}, must be an array [B] or [B, {size}]"
        )
    if jnp.issubdtype(value.dtype, jnp.integer) and value.ndim == 1:
        return one_hot(value, size)
    if value.shape[1:] != (size,):
        raise ConfigError(f"a condition of shape {value.shape} must be [B, {size}]")
    return value


def join(x: Float[Array, "B *S D"], condition: Float[Array, "B E"] | None) -> Array:
    """x with the condition as further channels, the same at every pixel."""
    if condition is None:
        return x
    wide = condition.reshape(len(condition), *[1] * (x.ndim - 2), condition.shape[-1])
    wide = jnp.broadcast_to(wide, (*x.shape[:-1], wide.shape[-1]))
    return jnp.concatenate([x, wide.astype(x.dtype)], -1)
