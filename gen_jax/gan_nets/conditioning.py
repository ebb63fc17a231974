"""How a label, or a vector in its place, enters a generator or a critic by concatenation."""

import inspect
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.conditions import one_hot
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float


def check_wrapped(wrapper: str, network: nn.Module) -> None:
    """Raise ConfigError unless a call of the network is (x, label, *, train) and no more.

    A wrapper gives the network these three alone.
    """
    words = inspect.signature(type(network).__call__).parameters
    missing = [word for word in ("label", "train") if word not in words]
    lost = [word for word in ("keys", "step") if word in words]
    if missing or lost:
        what = f"has no argument {missing[0]}" if missing else f"would not be given its {lost[0]}"
        raise ConfigError(f"{type(network).__name__} {what} inside {wrapper}: wrap another network")


def condition_vector(label: Any, size: int, count: int) -> Float[Array, "B E"] | None:
    """[B, size]: one-hot rows of integer labels, vectors (of a text, say) as they are.

    Args:
      label: [B] or [B, size]; None for rows of zeros.
      size: number of classes or entries of the vectors; 0 for none, and then the result is None.
      count: B.
    Raises ConfigError for a label that is not wanted or no array, and for vectors of another size.
    """
    if size == 0 and label is not None:
        raise ConfigError("label was given to a network with num_classes=0")
    if size == 0:
        return None
    if label is None:
        return jnp.zeros((count, size))
    if not hasattr(label, "dtype"):
        raise ConfigError(f"label is a {type(label).__name__}, must be an array [B] or [B, {size}]")
    if jnp.issubdtype(label.dtype, jnp.integer) and label.ndim == 1:
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
