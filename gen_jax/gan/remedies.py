"""Small remedies that `gan` puts together; each large one has a file of its own.

Elsewhere: `unrolled`, `consensus`, `orthogonal`, `augmentation` and `began` here; spectral norms,
sorting 1-Lipschitz critics, minibatch discrimination and dropout in `gen_jax.nets`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.randomness import normal, sample_keys
from gen_jax.types import Array, Batch, Float, Int, Key


def clip_weights(params: Any, bound: float) -> Any:
    """The nearest parameters with every entry in [-bound, bound] (arjovsky2017): a projection."""
    return jax.tree.map(lambda p: jnp.clip(p, -bound, bound), params)


def instance_noise(
    key: Key[Array, ""], x: Float[Array, "B ..."], std: float | Array
) -> Float[Array, "B ..."]:
    """x + std eps: laws that do not overlap do so after it (sonderby2017)."""
    return x + jnp.asarray(std, x.dtype) * normal(sample_keys(key, len(x)), x.shape[1:], x.dtype)


def annealed(std: float, step: Int[Array, ""], over: int) -> Float[Array, ""]:
    """std falling to 0 on a line over so many steps; constant when `over` is 0."""
    return std * jnp.clip(1 - step / over, 0, 1) if over else jnp.asarray(std)


def feature_matching(real: Float[Array, "B F"], fake: Float[Array, "B F"]) -> Float[Array, ""]:
    """|mean of real features - mean of generated ones|^2 (salimans2016, sec. 3.1)."""
    return jnp.sum((jnp.mean(real, 0) - jnp.mean(fake, 0)) ** 2)


def keep_where(frozen: Array, old: Any, new: Any) -> Any:
    """`old` where the critic is too strong to learn more for now, else `new`."""
    return jax.tree.map(lambda a, b: jnp.where(frozen, a, b), old, new)


def split_batch(batch: Batch, parts: int, argument: str = "n_critic") -> list[Batch]:
    """The batch in equal consecutive parts. Raises ConfigError when that cannot be."""
    size = len(batch["x"])
    if size % parts:
        raise ConfigError(f"batch of {size} is not divisible by {argument}={parts}")
    share = size // parts
    cut = lambda i: jax.tree.map(lambda value: value[i * share : (i + 1) * share], batch)
    return [cut(i) for i in range(parts)]


def mean_leaf(values: Array) -> Array:
    """Mean over the first axis; of whole numbers, which count and keep their type, the last."""
    return values.mean(0) if jnp.issubdtype(values.dtype, jnp.inexact) else values[-1]


def accumulated(
    value_and_grad: Callable[[Any], tuple[Any, Any]], parts: list[Any]
) -> tuple[Any, Any]:
    """Mean (`mean_leaf`) of `value_and_grad(part)` over the parts, one after the other in memory.

    For a loss that averages over examples it is what the whole would give; where examples are
    coupled (normalisation over the batch, minibatch discrimination) it is that of small batches.
    """
    if len(parts) == 1:
        return value_and_grad(parts[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
    return jax.tree.map(mean_leaf, jax.lax.map(value_and_grad, stacked))
