"""Step sizes and scales of coordinates, found before anything is collected and then fixed."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import check_range
from gen_jax.mcmc.checks import check_start, check_step_size
from gen_jax.mcmc.kernel import Kernel
from gen_jax.mcmc.positions import flatten, start_points
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Bool, Float, Key, State

TARGET_ACCEPTANCE = {"random_walk": 0.234, "mala": 0.574, "hmc": 0.8}
"""Usual acceptances to aim at, by kernel (roberts1997, roberts1998, hoffman2014)."""


class DualAverage(NamedTuple):
    """log step size, its running average, mean distance from the target, steps done; all []."""

    log_step: Float[Array, ""]
    log_average: Float[Array, ""]
    distance: Float[Array, ""]
    steps: Float[Array, ""]


class Tuning(NamedTuple):
    """What adaptation carries.

    Fields:
      average: of the step size, since the scale was last changed.
      scale: of the coordinates [D].
      mean, variance: of the positions since then, and of their gradients where there are any [E].
      steps: since then [].
    """

    average: DualAverage
    scale: Float[Array, "D"]
    mean: Float[Array, "E"]
    variance: Float[Array, "E"]
    steps: Float[Array, ""]


class Adapted(NamedTuple):
    """What the chains should go on with.

    Fields:
      step_size: found [].
      x: positions of the chains [B, ...].
      trace: the step sizes tried [num_steps].
      scale: of the coordinates, in the form of one chain's x; None unless it was learnt.
    """

    step_size: Float[Array, ""]
    x: Any
    trace: Float[Array, "steps"]
    scale: Any = None


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


FEWEST = 8
"""Steps in which a scale can be learnt."""


def window_ends(num_steps: int, num_chains: int) -> Bool[np.ndarray, "steps"]:
    """After which steps the scale is learnt.

    Short windows, of 10 steps and about 100 positions, fill the first 3/8 of the steps: here what
    is far from the target is forgotten, and wide coordinates grow from window to window. A long one
    lasts until 3/4, and the last quarter is left to the step size.
    """
    short = max(10, -(-100 // num_chains))
    ends = np.zeros(num_steps, bool)
    ends[short - 1 : 3 * num_steps // 8 : short] = True
    ends[3 * num_steps // 4 - 1] = num_steps >= FEWEST
    return ends


def rows_of(state: State) -> Float[Array, "B E"]:
    """Positions, and beside them the gradients where the state of the chains has any."""
    flat, gradient = flatten(state.x)[0], getattr(state, "gradient", None)
    return flat if gradient is None else jnp.concatenate([flat, gradient], 1)


def start_tuning(
    state: State, log_start: Float[Array, ""], average: Float[Array, ""] | float = 0.0
) -> Tuning:
    """No step done, and a scale of 1."""
    dim = flatten(state.x)[0].shape[1]
    zeros = jnp.zeros_like(rows_of(state)[0])
    zero = jnp.zeros_like(log_start)
    mean = jnp.full_like(log_start, average)
    ones = jnp.ones_like(zeros[:dim])
    return Tuning(DualAverage(log_start, mean, zero, zero), ones, zeros, zeros, zero)


def scale_from(variance: Float[Array, "E"], before: Float[Array, "D"]) -> Float[Array, "D"]:
    """The scale [D] of positions and gradients with these variances: (Var x / Var g)^1/4.

    It minimises the mean squared distance of the scaled gradients from those of a unit Gaussian
    (seyboldt2026). For a Gaussian it is the standard deviation, wherever the positions lie, since
    its gradient is linear. Without gradients, and where these do not vary, it is that of the
    positions; where these do not vary either it stays as it was.
    """
    dim = len(before)
    std = jnp.sqrt(variance)
    usable = lambda a: (a > 0) & jnp.isfinite(a)
    scale = jnp.where(usable(std[:dim]), std[:dim], before)
    if len(variance) > dim:
        both = jnp.sqrt(std[:dim] / jnp.where(std[dim:] > 0, std[dim:], 1))
        scale = jnp.where(usable(both) & usable(std[dim:]), both, scale)
    return scale


def tune(
    tuning: Tuning,
    acceptance: Float[Array, ""],
    state: State,
    target: float | Array,
    log_start: Float[Array, ""],
    end: Bool[Array, ""],
) -> Tuning:
    """One update by a step's mean acceptance and the state of the chains after it.

    At the `end` of a window the scale becomes that of all positions in it (`scale_from`), and the
    step size starts again.
    """
    average, scale, mean, variance, steps = tuning
    average = dual_average(average, acceptance, target, log_start)
    rows, share = rows_of(state), 1 / (steps + 1)
    shift = rows.mean(0) - mean
    variance = (1 - share) * (variance + share * shift**2) + share * rows.var(0)
    going = Tuning(average, scale, mean + share * shift, variance, steps + 1)
    again = start_tuning(state, log_start)._replace(scale=scale_from(variance, scale))
    return jax.tree.map(partial(jnp.where, end), again, going)


def adapt_step_size(
    key: Key[Array, "*batch"],
    make_kernel: Callable[..., Kernel],
    x: Any,
    num_steps: int,
    *,
    target: float,
    initial: float = 0.1,
    learn_scale: bool = False,
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
      learn_scale: also learn the scale of each coordinate; then `(step_size, scale) -> Kernel` is
        asked for, the step size is in units of the scale, and both are to be used:
        `make_kernel(adapted.step_size, adapted.scale)`.
    Raises ConfigError for numbers out of range and start points as `run` does.
    """
    check_range("num_steps", num_steps, FEWEST if learn_scale else 1, integer=True)
    check_range("target", target, 0.01, 0.99)
    check_step_size(initial)
    x = start_points(x)
    ones = jax.tree.map(lambda leaf: jnp.ones_like(leaf[0]), x) if learn_scale else None
    state = jax.jit(kernel_of(make_kernel, jnp.asarray(initial), ones).init)(x)
    check_start(state)
    run = partial(_adapt, make_kernel, num_steps, learn_scale)
    return jax.jit(run)(key, state, target, initial)


def kernel_of(make_kernel: Callable[..., Kernel], step_size: Array, scale: Any) -> Kernel:
    """The kernel of a step size, and of a scale where one is learnt."""
    return make_kernel(step_size) if scale is None else make_kernel(step_size, scale)


def scale_of(tuning: Tuning, x: Any) -> Any:
    """The scale in the form of one chain's x."""
    return jax.tree.map(lambda leaf: leaf[0], flatten(x)[1](tuning.scale[None]))


def _adapt(make_kernel, num_steps, learn_scale, key, state, target, initial):
    dtype = state.log_density.dtype
    log_start = jnp.log(jnp.asarray(initial, dtype))
    keys = sample_keys(key, len(state.log_density))
    scale = lambda tuning: scale_of(tuning, state.x) if learn_scale else None

    def body(carry, now):
        state, tuning = carry
        index, end = now
        step_size = jnp.exp(tuning.average.log_step)
        kernel = kernel_of(make_kernel, step_size, scale(tuning))
        state, info = kernel.step(fold_in(keys, index), state)
        acceptance = jnp.mean(info.acceptance)
        return (state, tune(tuning, acceptance, state, target, log_start, end)), step_size

    ends = jnp.asarray(window_ends(num_steps, len(keys)) & learn_scale)
    start = (state, start_tuning(state, log_start))
    (state, tuning), trace = jax.lax.scan(body, start, (jnp.arange(num_steps), ends))
    return Adapted(jnp.exp(tuning.average.log_average), state.x, trace, scale(tuning))
