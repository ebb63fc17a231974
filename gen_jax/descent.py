"""One step of an optimizer on a loss, and the moving average of the parameters that samples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.types import Array, Int, Metrics

Loss = Callable[[Any], tuple[Array, dict[str, Array]]]
"""`params -> (loss [B] or [], metrics)`; both are averaged over the examples."""


class AveragedState(NamedTuple):
    """Parameters, their moving average, the optimizer's state, the number of steps."""

    params: Any
    ema: Any
    optimizer: Any
    step: Int[Array, ""]


def descend(
    loss: Loss, optimizer: optax.GradientTransformation, params: Any, moments: Any
) -> tuple[Any, Any, Metrics]:
    """One step on the mean loss: the new parameters, the optimizer's new state, and metrics.

    The metrics are the loss's own, "loss" and "gradient_norm".
    """

    def mean_loss(params):
        each, metrics = loss(params)
        return jnp.mean(each), jax.tree.map(jnp.mean, metrics)

    (value, metrics), gradient = jax.value_and_grad(mean_loss, has_aux=True)(params)
    updates, moments = optimizer.update(gradient, moments, params)
    metrics = {"loss": value, **metrics, "gradient_norm": optax.global_norm(gradient)}
    return optax.apply_updates(params, updates), moments, metrics


def start_average(params: Any) -> Any:
    """A copy in float32 or finer: in bfloat16 an average's steps are smaller than the rounding."""
    return jax.tree.map(lambda p: jnp.array(p, jnp.promote_types(p.dtype, jnp.float32)), params)


def moving_average(ema: Any, params: Any, step: Int[Array, ""], decay: float) -> Any:
    """One step of the average; early on a fixed decay would remember the initial parameters."""
    return optax.incremental_update(params, ema, 1 - jnp.minimum(decay, (1 + step) / (10 + step)))


def first_state(params: Any, optimizer: optax.GradientTransformation) -> AveragedState:
    """The state before the first step."""
    moments = optimizer.init(params)
    return AveragedState(params, start_average(params), moments, jnp.zeros((), jnp.int32))


def descend_averaged(
    loss: Loss, optimizer: optax.GradientTransformation, decay: float, state: AveragedState
) -> tuple[AveragedState, Metrics]:
    """`descend` and one step of the moving average."""
    params, moments, metrics = descend(loss, optimizer, state.params, state.optimizer)
    ema = moving_average(state.ema, params, state.step, decay)
    return AveragedState(params, ema, moments, state.step + 1), metrics
