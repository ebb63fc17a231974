"""What all Markov chain kernels share: their face, their state, the acceptance, bad densities.

Many chains run at once: x is an array [B, ...], or a pytree of such arrays, and a log-density maps
it to [B]. Inside a kernel a chain's position is one vector, so the mathematics is written for
[B, D]. Each chain has its own key, so that it does not depend on the chains beside it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from jax.scipy.special import erfinv

from gen_jax.annotations import shaped
from gen_jax.checks import per_point
from gen_jax.mcmc.checks import check_scale, check_start
from gen_jax.mcmc.positions import flat_scale, flatten, start_points
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Bool, Float, Key, State


class Info(NamedTuple):
    """What one step learnt.

    Fields:
      acceptance: probability with which the proposal was accepted [B].
      accepted: whether it was [B].
      invalid: whether it met a density of NaN or +inf, or a gradient that is not finite [B]; such a
        proposal is rejected.
      swap_acceptance: of parallel tempering, for each pair of neighbours [B, K - 1].
    """

    acceptance: Float[Array, "B"]
    accepted: Bool[Array, "B"]
    invalid: Bool[Array, "B"]
    swap_acceptance: Float[Array, "B K"] | None = None


class Kernel(NamedTuple):
    """A Markov chain that keeps (or, for unadjusted Langevin, nearly keeps) a density.

    Fields:
      init: `x -> state`; the state has fields x and log_density. Raises ConfigError for a
        log-density of the wrong shape and, outside jit, for chains that start where it is not
        finite.
      step: `(key, state) -> (state, Info)`; the key is one key, or one per chain [B].
      evaluations: of the log-density, with its gradient where that is used, per chain and step.
    """

    init: Callable[[Any], State]
    step: Callable[[Key[Array, "*batch"], State], tuple[State, Info]]
    evaluations: int = 1


class ChainState(NamedTuple):
    """Positions [B, ...], log-densities [B] in nats and gradients [B, D] (or None) of B chains."""

    x: Any
    log_density: Float[Array, "B"]
    gradient: Float[Array, "B D"] | None


class Proposal(NamedTuple):
    """A point [B, D] to go to, its density and gradient, and the logarithm [B] of the ratio

    p(y) q(y -> x) / (p(x) q(x -> y)), in nats.
    """

    flat: Float[Array, "B D"]
    log_density: Float[Array, "B"]
    gradient: Float[Array, "B D"] | None
    log_ratio: Float[Array, "B"]


def evaluator(log_density: Callable, unflatten: Callable, gradient: bool) -> Callable:
    """`flat [B, D] -> (log-densities [B], gradients [B, D] or None)`, one pass for all chains."""
    value = lambda flat: per_point("log_density", log_density)(unflatten(flat))

    def evaluate(flat):
        if not gradient:
            return value(flat), None
        values, pull = jax.vjp(value, flat)
        return values, pull(jnp.ones_like(values))[0]

    return evaluate


def metropolis_kernel(
    log_density: Callable,
    propose: Callable,
    *,
    gradient: bool = True,
    evaluations: int = 1,
    scale: Any = None,
    uniforms: int = 0,
) -> Kernel:
    """The kernel of a proposal.

    Args:
      propose: `(evaluate, flat [B, D], state, z [B, D], *u) -> Proposal`, with `evaluate` of
        `evaluator`, z standard normal and `uniforms` arrays u [B] uniform on (0, 1).
      scale: of the coordinates, in the form of one chain's x: the proposal is made in x / scale.
        A diagonal mass matrix is its square's inverse (neal2011 sec. 5.4.1).
    """
    check_scale(scale)

    def init(x):
        x = start_points(x)
        flat, unflatten = flatten(x)
        state = ChainState(x, *evaluator(log_density, unflatten, gradient)(flat))
        check_start(state)
        return state

    def step(key, state):
        flat, unflatten = flatten(state.x)
        z, u = draw(sample_keys(key, len(flat)), flat, uniforms + 1)
        evaluate = evaluator(log_density, unflatten, gradient)
        given = u[:, :uniforms].T
        if scale is None:
            y, values, slope, log_ratio = propose(evaluate, flat, state, z, *given)
        else:
            unit = flat_scale(scale, state.x)
            times = lambda slope: None if slope is None else unit * slope

            def scaled(y):
                values, slope = evaluate(unit * y)
                return values, times(slope)

            inside = state._replace(gradient=times(state.gradient))
            y, values, slope, log_ratio = propose(scaled, flat / unit, inside, z, *given)
            y, slope = unit * y, None if slope is None else slope / unit
        return metropolis(u[:, -1], state, ChainState(unflatten(y), values, slope), log_ratio)

    return Kernel(init, step, evaluations)


def draw(
    keys: Key[Array, "B"], like: Float[Array, "B D"], uniforms: int = 1
) -> tuple[Float[Array, "B D"], Float[Array, "B uniforms"]]:
    """Standard normal noise [B, D] and numbers [B, U] uniform on (0, 1), in one draw per chain.

    In few dimensions random bits are most of a step's cost, so for float32 both words of each
    block of the default generator are used, where `jax.random.bits` makes one word of the two.
    """
    dtype, dim = like.dtype, like.shape[1]
    size = dim + uniforms
    if dtype == jnp.float32 and jax.random.key_impl(keys) == "threefry2x32":
        counts = jnp.arange(size + size % 2, dtype=jnp.uint32)
        words = jax.vmap(threefry_2x32, (0, None))(jax.random.key_data(keys), counts)[:, :size]
        # The middles of 2^23 cells of (-1, 1).
        u = ((words >> 9).astype(dtype) + 0.5) * 2.0**-22 - 1
    else:
        low = np.nextafter(np.array(-1, dtype), np.array(0, dtype), dtype=dtype)
        u = jax.vmap(lambda key: jax.random.uniform(key, (size,), dtype, low, 1.0))(keys)
    return jnp.sqrt(jnp.array(2, dtype)) * erfinv(u[:, :dim]), (1 + u[:, dim:]) / 2


def is_invalid(point: ChainState) -> Bool[Array, "B"]:
    """Where the density is NaN or +inf, or finite with a gradient that is not."""
    values = point.log_density
    invalid = jnp.isnan(values) | jnp.isposinf(values)
    if point.gradient is not None:
        invalid |= jnp.isfinite(values) & ~jnp.isfinite(point.gradient).all(1)
    return invalid


@shaped()
def metropolis(
    uniform: Float[Array, "B"],
    state: ChainState,
    proposal: ChainState,
    log_ratio: Float[Array, "B"],
) -> tuple[ChainState, Info]:
    """Accept each chain's proposal with probability min(1, exp(log_ratio)) (hastings1970 eq. 6).

    Where the log-ratio is NaN or the proposal is invalid the chain stays, and the step counts as
    invalid; where the density is 0 it just stays.
    """
    outside = jnp.isneginf(proposal.log_density)
    invalid = is_invalid(proposal) | (jnp.isnan(log_ratio) & ~outside)
    acceptance = jnp.where(invalid | outside, 0, jnp.exp(jnp.minimum(log_ratio, 0)))
    accepted = uniform < acceptance

    def choose(new, old):
        return jnp.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, proposal, state), Info(acceptance, accepted, invalid)
