"""Couplings of two minibatches: which x1[j] is paired with x0[i] (tong2024, pooladian2023).

Every coupling is `(key, x0 [B, ...], x1 [B, ...]) -> j [B]`, so that labels can follow their data:
`x1[j], y[j]`. All run on the device under jit; none passes a gradient to x0 or x1. All
but `sinkhorn_log_plan` raise ConfigError unless N = B.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax

from gen_jax.annotations import floats
from gen_jax.batching import as_rows, check_rows
from gen_jax.divergences.distances import power_of_two, squared_distances
from gen_jax.divergences.sinkhorn import solve
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int, Key, Num

_HUGE = 1e30

batches = floats(key="key", x0="B ...", x1="N ...")


@batches
def independent(
    key: Key[Array, ""], x0: Num[Array, "B ..."], x1: Num[Array, "N ..."]
) -> Int[Array, "B"]:
    """A random permutation, which also undoes any pairing that the data came with."""
    return jax.random.permutation(key, _batch_size(x0, x1))


@batches
def paired(
    key: Key[Array, ""], x0: Num[Array, "B ..."], x1: Num[Array, "N ..."]
) -> Int[Array, "B"]:
    """The given order, for data that come in pairs; the key is not used."""
    return jnp.arange(_batch_size(x0, x1))


@batches
def optimal_assignment(
    key: Key[Array, ""], x0: Num[Array, "B ..."], x1: Num[Array, "N ..."]
) -> Int[Array, "B"]:
    """The permutation j that minimises sum_i |x0[i] - x1[j_i]|^2, exactly, in O(B^3).

    The key is not used. Distances that are not finite count as very large.
    """
    _batch_size(x0, x1)
    cost = jnp.nan_to_num(_pair_costs_and_unit(x0, x1)[0], nan=_HUGE, posinf=_HUGE)
    return assign(cost)


def assign(cost: Float[Array, "B B"]) -> Int[Array, "B"]:
    """The permutation j that minimises sum_i cost[i, j_i] (kuhn1955), by optax."""
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    return jnp.zeros(cost.shape[0], columns.dtype).at[rows].set(columns)


@batches
def sinkhorn(
    key: Key[Array, ""],
    x0: Num[Array, "B ..."],
    x1: Num[Array, "N ..."],
    *,
    epsilon: float = 0.05,
    iterations: int = 200,
) -> Int[Array, "B"]:
    """For each i one j drawn from row i of the entropic plan (`sinkhorn_log_plan`).

    Not a permutation: some x1 may serve twice and others not at all.
    """
    _batch_size(x0, x1)
    log_plan = sinkhorn_log_plan(x0, x1, epsilon=epsilon, iterations=iterations)
    return jax.random.categorical(key, log_plan, axis=1)


COUPLINGS: dict[str, Callable[..., Array]] = {
    "independent": independent,
    "paired": paired,
    "optimal_assignment": optimal_assignment,
    "sinkhorn": sinkhorn,
}
"""Every coupling by name."""


@floats(x0="M ...", x1="N ...")
def sinkhorn_log_plan(
    x0: Num[Array, "M ..."],
    x1: Num[Array, "N ..."],
    *,
    epsilon: float = 0.05,
    iterations: int = 200,
) -> Float[Array, "M N"]:
    """log of the plan P that minimises <P, C> - e H(P) with uniform marginals (cuturi2013).

    C = |x0 - x1|^2 and e is `epsilon` times the mean of C. Rows sum to 1 / M exactly; columns to
    1 / N as the iterations converge, the slower the smaller epsilon.
    Raises ConfigError unless epsilon > 0 and iterations >= 1.
    """
    check_range("epsilon", epsilon, 0, open_low=True)
    check_range("iterations", iterations, 1, integer=True)
    cost, _ = _pair_costs_and_unit(x0, x1)
    mean = cost.mean()
    scale = epsilon * jnp.where(mean > 0, mean, 1)
    solution = solve(cost, scale, tolerance=0.0, max_iterations=iterations)
    log_row = -jnp.log(cost.shape[0]).astype(cost.dtype)
    return log_row + jax.nn.log_softmax(solution.log_plan(cost, scale), axis=1)


def pair_costs(x0: Num[Array, "M ..."], x1: Num[Array, "N ..."]) -> Float[Array, "M N"]:
    """|x0[i] - x1[j]|^2 summed over all axes but the first, in float32 at least, without gradient.

    Both sets are centred on their common mean first, so that expanding the square stays accurate.
    Raises ConfigError for a set of no examples.
    """
    cost, unit = _pair_costs_and_unit(x0, x1)
    return cost * unit * unit


def _pair_costs_and_unit(x0: Array, x1: Array) -> tuple[Array, Array]:
    """`pair_costs` in the square of a unit in which the sets are of size 1, and the unit."""
    check_rows("x0", x0)
    check_rows("x1", x1)
    if x0.shape[1:] != x1.shape[1:]:
        raise ConfigError(f"x1 has shape {x1.shape}, allowed: [N, *{x0.shape[1:]}] as x0")
    flat = partial(_flat, dtype=jnp.result_type(x0, x1, jnp.float32))
    x0, x1 = flat(x0), flat(x1)
    centre = jnp.concatenate([x0, x1]).mean(0)
    x0, x1 = x0 - centre, x1 - centre
    unit = power_of_two(x0, x1)
    return squared_distances(x0 / unit, x1 / unit), unit


def _flat(x: Array, dtype: jnp.dtype) -> Array:
    return as_rows(jax.lax.stop_gradient(x).astype(dtype))


def _batch_size(x0: Array, x1: Array) -> int:
    check_rows("x0", x0)
    if x0.shape[0] != x1.shape[0]:
        raise ConfigError(f"x1 has {x1.shape[0]} examples, allowed: as many as x0 ({x0.shape[0]})")
    return x0.shape[0]
