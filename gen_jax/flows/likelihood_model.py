"""What models trained by a loss of their parameters share: the state, one step, moving averages."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.errors import ConfigError
from gen_jax.model import fold_in, sample_keys
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics


class FlowState(NamedTuple):
    """Parameters, their moving average, the optimizer's state, the number of steps."""

    params: Any
    ema: Any
    optimizer: Any
    step: Int[Array, ""]


Loss = Callable[[Any, Key[Array, ""], Batch], tuple[Float[Array, "B"], Metrics]]
"""`(params, key, batch) -> (loss [B], metrics of one number per example)`."""


def first_state(params: Any, optimizer: optax.GradientTransformation) -> FlowState:
    """The state before the first step."""
    return FlowState(
        params, jax.tree.map(jnp.copy, params), optimizer.init(params), jnp.zeros((), jnp.int32)
    )


def descend(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    key: Key[Array, ""],
    state: FlowState,
    batch: Batch,
) -> tuple[FlowState, Metrics]:
    """One step on the batch's mean loss; the moving average forgets faster in the first steps."""

    def mean_loss(params):
        each, metrics = loss(params, key, batch)
        return each.mean(), jax.tree.map(jnp.mean, metrics)

    (value, metrics), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    updates, moments = optimizer.update(gradient, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
    ema = optax.incremental_update(params, state.ema, 1 - decay)
    metrics = {"loss": value, **metrics, "gradient_norm": optax.global_norm(gradient)}
    return FlowState(params, ema, moments, state.step + 1), metrics


def one_hot(label: Any, n: int, num_classes: int) -> Float[Array, "n K"] | None:
    """The condition of n examples: labels as one-hot rows, zeros for label None; None for K = 0.

    Raises ConfigError for labels of a model without classes, or of another shape.
    """
    if num_classes == 0:
        if label is not None:
            raise ConfigError("label was given, but the model was made without num_classes")
        return None
    if label is None:
        return jnp.zeros((n, num_classes))
    if jnp.shape(label) not in ((), (n,)):
        raise ConfigError(f"label must be one integer or have shape [{n}], got {jnp.shape(label)}")
    labels = jnp.broadcast_to(jnp.asarray(label, jnp.int32), (n,))
    return jax.nn.one_hot(labels, num_classes)


def hide_some(
    key: Key[Array, ""], told: Float[Array, "B K"] | None, share: float
) -> Float[Array, "B K"] | None:
    """Zeros in place of a random share of the rows."""
    if told is None:
        return None
    return told * jax.random.bernoulli(key, 1 - share, (len(told), 1))


def average_over(
    one: Callable[[Key[Array, "B"]], Float[Array, "B"]],
    key: Key[Array, "*batch"],
    n: int,
    draws: int,
) -> Float[Array, "B"]:
    """log of the mean of exp(one(keys)) over `draws` sets of keys, one key for each of n examples.

    For a log-density of dequantised data it is the importance-weighted bound (burda2016).
    """
    keys = sample_keys(key, n)
    if draws == 1:
        return one(keys)
    values = jax.lax.map(lambda i: one(fold_in(keys, i)), jnp.arange(draws))
    return jax.nn.logsumexp(values, axis=0) - jnp.log(draws)
