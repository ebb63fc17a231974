"""One step of an optimizer on a loss, and the moving average of the parameters that samples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.errors import ConfigError, shown
from gen_jax.types import Array, Int, Metrics

Loss = Callable[[Any], tuple[Array, dict[str, Array]]]
"""`params -> (loss [B] or [], metrics)`; both are averaged over the examples."""


class AveragedState(NamedTuple):
    """Parameters, their moving average, the optimizer's state, the number of steps."""

    params: Any
    ema: Any
    optimizer: Any
    step: Int[Array, ""]


class PlainState(NamedTuple):
    """Parameters, the optimizer's state, the number of steps."""

    params: Any
    optimizer: Any
    step: Int[Array, ""]


def one_cycle_adam(steps: int, peak: float) -> optax.GradientTransformation:
    """Adam on gradients of norm at most 1, its rate rising to `peak` in a tenth of the steps and
    falling to nearly 0 on a cosine."""
    schedule = optax.cosine_onecycle_schedule(steps, peak, 0.1)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def start_moments(optimizer: Any, params: Any, argument: str = "optimizer") -> Any:
    """The optimizer's state before the first step. Raises ConfigError for what is no optimizer."""
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise ConfigError(
            f"{argument}={shown(optimizer)} must be an optax optimizer, such as optax.adam(1e-3)"
        )
    return optimizer.init(params)


def apply_gradient(
    optimizer: optax.GradientTransformation,
    gradient: Any,
    moments: Any,
    params: Any,
    value: Array | None = None,
    value_fn: Callable[[Any], Array] | None = None,
) -> tuple[Any, Any]:
    """The parameters and the optimizer's state after one step.

    Args:
      value, value_fn: the loss, and the loss as a function of the parameters, for optimizers that
        ask for them (`optax.contrib.reduce_on_plateau`, line searches).
    Raises ConfigError when `update` does not return updates and a state of the same form.
    """
    whole = optax.with_extra_args_support(optimizer)
    extra = {"value": value, "grad": gradient, "value_fn": value_fn}
    out = whole.update(gradient, moments, params, **extra)
    if not isinstance(out, tuple) or len(out) != 2:
        raise ConfigError(f"optimizer.update returned {shown(out)}, must be (updates, state)")
    updates, after = out
    before: Any = jax.tree.structure(moments)
    if before != jax.tree.structure(after):
        raise ConfigError(
            "optimizer.update must keep the form of the state that optimizer.init made"
        )
    return optax.apply_updates(params, updates), after


def optimizer_step(
    loss: Loss, optimizer: optax.GradientTransformation, params: Any, moments: Any
) -> tuple[Any, Any, Metrics]:
    """One step on the mean loss: the new parameters, the optimizer's new state, and metrics.

    The metrics are the loss's own, "loss" and "gradient_norm".
    """

    def mean_loss(params):
        each, metrics = loss(params)
        if each.ndim > 1:
            raise ConfigError(f"the loss has shape {each.shape}, must be one number per example")
        return jnp.mean(each), jax.tree.map(jnp.mean, metrics)

    (value, metrics), gradient = jax.value_and_grad(mean_loss, has_aux=True)(params)
    of_params = lambda params: mean_loss(params)[0]
    params, moments = apply_gradient(optimizer, gradient, moments, params, value, of_params)
    metrics = {"loss": value, **metrics, "gradient_norm": optax.tree.norm(gradient)}
    return params, moments, metrics


def start_average(params: Any) -> Any:
    """A copy in float32 or finer: in bfloat16 an average's steps are smaller than the rounding."""
    return jax.tree.map(lambda p: jnp.array(p, jnp.promote_types(p.dtype, jnp.float32)), params)


def moving_average(ema: Any, params: Any, step: Int[Array, ""], decay: float) -> Any:
    """One step of the average; early on a fixed decay would remember the initial parameters."""
    return optax.incremental_update(params, ema, 1 - jnp.minimum(decay, (1 + step) / (10 + step)))


def init_state_with_ema(params: Any, optimizer: Any) -> AveragedState:
    """The state before the first step."""
    moments = start_moments(optimizer, params)
    return AveragedState(params, start_average(params), moments, jnp.zeros((), jnp.int32))


def optimizer_step_with_ema(
    loss: Loss, optimizer: optax.GradientTransformation, decay: float, state: AveragedState
) -> tuple[AveragedState, Metrics]:
    """`descend` and one step of the moving average."""
    params, moments, metrics = optimizer_step(loss, optimizer, state.params, state.optimizer)
    ema = moving_average(state.ema, params, state.step, decay)
    return AveragedState(params, ema, moments, state.step + 1), metrics
