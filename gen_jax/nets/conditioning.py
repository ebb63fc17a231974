"""How a label, or a vector in its place, enters a generator or a critic by concatenation."""

import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.labels import one_hot
from gen_jax.types import Array, Float, Num


def condition_vector(label: Num[Array, "B *E"] | None, size: int, count: int) -> Array | None:
    """[B, size]: one-hot rows of integer labels, vectors (of a text, say) as they are.

    Args:
      size: number of classes or entries of the vectors; 0 for none, and then the result is None.
      count: B, for a label that is None: rows of zeros.
    Raises ConfigError for a label that is not wanted and for vectors of another size.
    """
    if size == 0 and label is not None:
        raise ConfigError("label was given to a network with num_classes=0")
    if size == 0:
        return None
    if label is None:
        return jnp.zeros((count, size))
    if jnp.issubdtype(label.dtype, jnp.integer):
        return one_hot(label, size)
    if label.shape[1:] != (size,):
        raise ConfigError(f"a condition of shape {label.shape} must be [B, {size}]")
    return label


def join(x: Float[Array, "B *S D"], condition: Float[Array, "B E"] | None) -> Array:
    """x with the condition as further channels, the same at every pixel."""
    if condition is None:
        return x
    wide = condition.reshape(len(condition), *[1] * (x.ndim - 2), condition.shape[-1])
    wide = jnp.broadcast_to(wide, (*x.shape[:-1], wide.shape[-1]))
    return jnp.concatenate([x, wide.astype(x.dtype)], -1)
