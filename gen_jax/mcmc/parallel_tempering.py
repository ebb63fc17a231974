"""Parallel tempering: chains at several temperatures that exchange their places.

Level k keeps p^(b_k), 1 = b_0 > b_1 > ... > 0. The inner kernel acts on y = sqrt(b) x, so that one
step size serves all levels: a step of s in y is one of s / sqrt(b) in x (and a Langevin step h one
of h / b), as wide as the tempered density is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import per_point
from gen_jax.errors import ConfigError
from gen_jax.mcmc.checks import check_start
from gen_jax.mcmc.kernel import ChainState, Info, Kernel
from gen_jax.mcmc.positions import flatten, start_points
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Bool, Float, Int


class TemperingState(NamedTuple):
    """Chains with all their levels; every leaf has the leading axis of chains.

    Fields:
      x, log_density: of the level b = 1, [B, ...] and [B].
      ladder: y [B, K, D] of all levels with their densities [B, K] and gradients [B, K, D].
      parity: 0 when the pairs (0, 1), (2, 3), .. swap next, 1 for (1, 2), (3, 4), ..; [B].
    """

    x: Any
    log_density: Float[Array, "B"]
    ladder: ChainState
    parity: Int[Array, "B"]


def check_inverse_temperatures(values: Any) -> Float[np.ndarray, "K"]:
    """The ladder as an array; raises ConfigError unless it falls from 1 and stays above 0."""
    given = np.asarray(values, np.float64)
    falls = given.ndim == 1 and len(given) >= 2 and np.all(np.diff(given) < 0)
    if not falls or given[0] != 1 or not given[-1] > 0:
        raise ConfigError(
            f"inverse_temperatures={values!r} must be two or more numbers that fall from 1 and "
            "stay above 0"
        )
    return given


def log_swap_ratios(
    log_density: Float[Array, "B K"], inverse_temperatures: Float[Array, "K"]
) -> Float[Array, "B pairs"]:
    """log of the acceptance ratio of exchanging levels k and k + 1 (swendsen1986, geyer1991).

    (b_k - b_(k+1)) (log p(x_(k+1)) - log p(x_k)), with log p at temperature 1, in nats.
    """
    gap = inverse_temperatures[:-1] - inverse_temperatures[1:]
    return gap * (log_density[:, 1:] - log_density[:, :-1])


def swap_order(accepted: Bool[Array, "B pairs"]) -> Int[Array, "B K"]:
    """Which level's place each level takes; no two accepted pairs may share a level."""
    accepted = accepted.astype(int)
    none = jnp.zeros_like(accepted[:, :1])
    up, down = jnp.concatenate([accepted, none], 1), jnp.concatenate([none, accepted], 1)
    return jnp.arange(accepted.shape[1] + 1) + up - down


def exchange(
    uniform: Float[Array, "B pairs"],
    ladder: ChainState,
    inverse_temperatures: Float[Array, "K"],
    parity: Int[Array, "B"],
) -> tuple[ChainState, Float[Array, "B pairs"]]:
    """Swap the neighbours whose turn it is; also the probability of every swap [B, K - 1].

    What is known at y carries over: y, its gradient and its density only change scale.
    """
    b, count = inverse_temperatures, len(inverse_temperatures)
    acceptance = jnp.exp(jnp.minimum(log_swap_ratios(ladder.log_density / b, b), 0))
    turn = jnp.arange(count - 1) % 2 == parity[:, None]
    order = swap_order((uniform < acceptance) & turn)
    ratio = b / b[order]

    def place(a, scale):
        return None if a is None else scale * jnp.take_along_axis(a, order[..., None], 1)

    root = jnp.sqrt(ratio)[..., None]
    log_density = place(ladder.log_density[..., None], ratio[..., None])[..., 0]
    return ChainState(place(ladder.x, root), log_density, place(ladder.gradient, root)), acceptance


def parallel_tempering(
    log_density: Callable,
    inverse_temperatures: Any,
    kernel: Callable[[Callable], Kernel],
) -> Kernel:
    """One inner step at every level, then swaps of neighbours, even and odd pairs in turn.

    Args:
      log_density: `x [B, ...] -> [B]`, in nats, up to a constant.
      inverse_temperatures: b [K], falling from 1, above 0.
      kernel: makes the inner kernel of a log-density, one of `mala`, `random_walk`, `hmc`:
        `lambda log_density: random_walk(log_density, 0.5)`; its step size is that of level b = 1.
    The state holds all levels; x and acceptance are those of level b = 1, and an invalid density at
    any level counts. `swap_acceptance` [B, K - 1] is the probability of every swap, those included
    whose turn it is not. Raises ConfigError for levels that do not fall from 1 or reach 0.
    """
    levels = check_inverse_temperatures(inverse_temperatures)
    count = len(levels)

    def inner(unflatten, dtype):
        b = jnp.asarray(levels, dtype)
        every = lambda y: jnp.tile(b, len(y) // count)

        def tempered(y):
            return every(y) * per_point("log_density", log_density)(
                unflatten(y / jnp.sqrt(every(y))[:, None])
            )

        return kernel(tempered), b

    together = lambda tree: jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)
    apart = lambda tree: jax.tree.map(lambda a: a.reshape(-1, count, *a.shape[1:]), tree)

    def cold(unflatten, ladder, parity):
        return TemperingState(unflatten(ladder.x[:, 0]), ladder.log_density[:, 0], ladder, parity)

    def init(x):
        x = start_points(x)
        flat, unflatten = flatten(x)
        check_start(ChainState(x, per_point("log_density", log_density)(x), None))
        kernel, b = inner(unflatten, flat.dtype)
        y = (flat[:, None] * jnp.sqrt(b)[:, None]).reshape(-1, flat.shape[1])
        return cold(unflatten, apart(kernel.init(y)), jnp.zeros(len(flat), jnp.int32))

    def step(key, state):
        flat, unflatten = flatten(state.x)
        kernel, b = inner(unflatten, flat.dtype)
        keys = sample_keys(key, len(flat))
        keys = jax.vmap(lambda key: jax.random.split(key, count + 1))(keys)
        ladder, info = kernel.step(keys[:, 1:].reshape(-1), together(state.ladder))
        uniform = jax.vmap(lambda key: jax.random.uniform(key, (count - 1,), flat.dtype))
        ladder, swaps = exchange(uniform(keys[:, 0]), apart(ladder), b, state.parity)
        acceptance, accepted, invalid = apart(info[:3])
        summary = Info(acceptance[:, 0], accepted[:, 0], invalid.any(1), swaps)
        return cold(unflatten, ladder, 1 - state.parity), summary

    one = kernel(log_density)
    return Kernel(init, step, count * one.evaluations)
