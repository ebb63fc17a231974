"""Step sizes by dual averaging, found before anything is collected and fixed from then on."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.mcmc.checks import check_start, check_step_size
from gen_jax.mcmc.kernel import Kernel
from gen_jax.model import fold_in, sample_keys
from gen_jax.types import Array, Float, Key

TARGET_ACCEPTANCE = {"random_walk": 0.234, "mala": 0.574, "hmc": 0.8}
"""Usual acceptances to aim at, by kernel (roberts1997, roberts1998, hoffman2014)."""


class DualAverage(NamedTuple):
    """log step size, its running average, mean distance from the target, steps done; all []."""

    log_step: Float[Array, ""]
    log_average: Float[Array, ""]
    distance: Float[Array, ""]
    steps: Float[Array, ""]


class Adapted(NamedTuple):
    """The step size found [], the chains' positions then [B, ...], the steps tried [num_steps]."""

    step_size: Float[Array, ""]
    x: Any
    trace: Float[Array, "steps"]


def dual_average(
    state: DualAverage,
    acceptance: Float[Array, ""],
    target: float | Array,
    log_start: Float[Array, ""],
) -> DualAverage:
    """One update with gamma = 0.05, t0 = 10, kappa = 0.75 (hoffman2014 eq. 6, algorithm 5)."""
    count = state.steps + 1
    weight = 1 / (count + 10)
    distance = (1 - weight) * state.distance + weight * (target - acceptance)
    log_step = log_start + math.log(10) - jnp.sqrt(count) / 0.05 * distance
    mix = count**-0.75
    log_average = mix * log_step + (1 - mix) * state.log_average
    return DualAverage(log_step, log_average, distance, count)


def adapt_step_size(
    key: Key[Array, "*batch"],
    make_kernel: Callable[[Array], Kernel],
    x: Any,
    num_steps: int,
    *,
    target: float,
    initial: float = 0.1,
) -> Adapted:
    """Run the chains for `num_steps` while their common step size nears the target acceptance.

    The mean acceptance of all chains decides, so here, and only here, chains depend on each other.
    Go on with `run(key, make_kernel(adapted.step_size), adapted.x, ...)`: nothing of these steps is
    a sample.

    Args:
      key: one key, or one per chain [B].
      make_kernel: `step_size [] -> Kernel`; the state must not depend on the step size.
      x: where the chains start, [B, ...] or a pytree.
      target: mean acceptance probability to reach; TARGET_ACCEPTANCE has the usual ones.
      initial: first step size.
    Raises ConfigError for numbers out of range and start points as `run` does.
    """
    check_range("num_steps", num_steps, 1, integer=True)
    check_range("target", target, 0.01, 0.99)
    check_step_size(initial)
    kernel = make_kernel(jnp.asarray(initial))
    state = jax.jit(kernel.init)(jax.tree.map(jnp.asarray, x))
    check_start(state)
    return _adapt(key, make_kernel, state, num_steps, target, initial)


@partial(jax.jit, static_argnames=("make_kernel", "num_steps"))
def _adapt(key, make_kernel, state, num_steps, target, initial):
    dtype = state.log_density.dtype
    log_start = jnp.log(jnp.asarray(initial, dtype))
    zero = jnp.zeros((), dtype)
    keys = sample_keys(key, len(state.log_density))

    def body(carry, i):
        state, average = carry
        step_size = jnp.exp(average.log_step)
        state, info = make_kernel(step_size).step(fold_in(keys, i), state)
        average = dual_average(average, jnp.mean(info.acceptance), target, log_start)
        return (state, average), step_size

    start = (state, DualAverage(log_start, zero, zero, zero))
    (state, average), trace = jax.lax.scan(body, start, jnp.arange(num_steps))
    return Adapted(jnp.exp(average.log_average), state.x, trace)
