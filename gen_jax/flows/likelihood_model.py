"""What the models of flows share: checks of the data, labels as conditions, averages of draws."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.conditions import batch_labels, checked_labels, one_hot
from gen_jax.data_units import Units, check_data
from gen_jax.errors import check_range
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Batch, Float, Key


def check_batch(
    batch: Batch, shape: tuple[int, ...], num_classes: int, transform: Any = None
) -> None:
    """Raise ConfigError for examples of another shape, or without the labels that are needed;
    DataError for values that the transform does not take.
    """
    batch_labels(batch, num_classes)
    check_data(Units(tuple(shape), transform), batch["x"])


def condition_of(label: Any, n: int, num_classes: int) -> Float[Array, "n K"] | None:
    """Labels as one-hot rows, zeros for label None; None for K = 0. Raises as `checked_labels`."""
    labels = checked_labels(label, n, num_classes)
    if num_classes == 0:
        return None
    return jnp.zeros((n, num_classes)) if labels is None else one_hot(labels, num_classes)


def drop_labels(
    key: Key[Array, ""], condition: Float[Array, "B K"] | None, share: float
) -> Float[Array, "B K"] | None:
    """Zeros in place of a random share of the rows."""
    if condition is None:
        return None
    return condition * jax.random.bernoulli(key, 1 - share, (len(condition), 1))


def average_over(
    one: Callable[[Key[Array, "B"]], Float[Array, "B"]],
    key: Key[Array, "*batch"],
    n: int,
    draws: int,
) -> Float[Array, "B"]:
    """log of the mean of exp(one(keys)) over `draws` sets of keys, one key for each of n examples.

    For a log-density of dequantised data it is the importance-weighted bound (burda2016).
    """
    check_range("draws", draws, 1, integer=True)
    keys = sample_keys(key, n)
    if draws == 1:
        return one(keys)
    values = jax.lax.map(lambda i: one(fold_in(keys, i)), jnp.arange(draws))
    return jax.nn.logsumexp(values, axis=0) - jnp.log(draws)
