"""Explicit Runge-Kutta methods of fixed step for dx/dt = f(x, t), over a given grid of times.

A method is a table of numbers (butcher1964); one engine serves them all:

    k_i = f(x + h sum_j a_ij k_j, t + c_i h),   x' = x + h sum_i b_i k_i.

Steps may be negative, so a grid that falls from noise (t = 1) to data (t = 0) needs nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_floats, host_array, is_known, no_type_check, same_shape
from gen_jax.errors import ConfigError, check_choice, check_range, shown
from gen_jax.types import Array, Float, Int, State


class Tableau(NamedTuple):
    """Butcher's tableau: rows `a` (row i has i entries), weights `b`, nodes `c`; `order`."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int


TABLEAUS: dict[str, Tableau] = {
    "euler": Tableau(((),), (1.0,), (0.0,), 1),
    "midpoint": Tableau(((), (1 / 2,)), (0.0, 1.0), (0.0, 1 / 2), 2),
    "heun": Tableau(((), (1.0,)), (1 / 2, 1 / 2), (0.0, 1.0), 2),
    "ralston": Tableau(((), (2 / 3,)), (1 / 4, 3 / 4), (0.0, 2 / 3), 2),
    "rk4": Tableau(
        ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
        (0.0, 1 / 2, 1 / 2, 1.0),
        4,
    ),
}
"""Every method by name; a step calls `f` once per row."""


def rk_step(
    tableau: Tableau,
    f: Callable[[State, Array], State],
    x: State,
    t: float | Float[Array, ""],
    h: float | Float[Array, ""],
) -> State:
    """One step of size h (of either sign) from x at time t; x is a pytree and keeps its dtypes."""
    slopes: list[State] = []
    for row, c in zip(tableau.a, tableau.c):
        slopes.append(f(_advance(x, h, row, slopes), jnp.asarray(t + c * h)))
    return _advance(x, h, tableau.b, slopes)


def integrate(
    f: Callable[[State, Array], State],
    x: State,
    ts: Float[Array, " times"],
    method: str = "heun",
    *,
    trajectory: bool = False,
) -> State:
    """Integrate dx/dt = f(x, t) through the times `ts` [n + 1], rising or falling, in n steps.

    Args:
      f: `(x, t []) -> dx/dt`, of x's structure and shapes.
      x: state at ts[0], any pytree of arrays.
      method: a name in TABLEAUS.
      trajectory: return the states at all times, with a leading axis [n + 1], not the last only.
    Raises ConfigError for an unknown method.
    """
    tableau = TABLEAUS[check_choice("method", method, TABLEAUS)]
    x, f, ts = jax.tree.map(as_floating, x), same_shape("f", f), as_grid(ts)

    def step(x, times):
        t, s = times
        x = rk_step(tableau, f, x, t, s - t)
        return x, x if trajectory else None

    last, later = jax.lax.scan(step, x, (ts[:-1], ts[1:]))
    return prepend(x, later) if trajectory else last


def integrate_steps(
    f: Callable[[State, Array], State],
    x: State,
    time: Callable[[Array], Array],
    num_steps: int | Int[Array, ""],
    method: str = "heun",
) -> State:
    """`integrate` in steps from time(i) to time(i + 1), i = 0 .. num_steps - 1.

    In an array the number is no constant of the program, which then serves all numbers, with
    gradients by forward mode alone; a traced number below 1 gives NaN. Raises ConfigError for a
    known number below 1 and for an unknown method.
    """
    tableau = TABLEAUS[check_choice("method", method, TABLEAUS)]
    x, f, num_steps = jax.tree.map(as_floating, x), same_shape("f", f), as_steps(num_steps)

    def step(i, carry):
        x, t = carry
        s = time(i + 1)
        return rk_step(tableau, f, x, t, s - t), s

    x, _ = jax.lax.fori_loop(0, num_steps, step, (x, time(jnp.asarray(0))))
    return jax.tree.map(lambda leaf: jnp.where(num_steps > 0, leaf, jnp.nan), x)


@no_type_check
def as_steps(num_steps: Any) -> int | Int[Array, ""]:
    """A number of steps, or an array of one. Raises ConfigError for others, and below 1."""
    if not isinstance(num_steps, np.ndarray | jax.Array):
        return check_range("num_steps", num_steps, 1, integer=True)
    whole = jnp.issubdtype(num_steps.dtype, jnp.integer) and num_steps.shape == ()
    if not whole or (is_known(num_steps) and np.asarray(num_steps) < 1):
        given = shown(int(num_steps) if whole else num_steps)
        raise ConfigError(f"num_steps={given} must be an integer of at least 1, or an array of one")
    return jnp.asarray(num_steps)


@no_type_check
def as_grid(ts: Any) -> Float[Array, " times"]:
    """Times of steps [n + 1] as floating-point numbers. Raises ConfigError for another shape."""
    ts = as_floats("ts", ts)
    if ts.ndim != 1 or not len(ts):
        raise ConfigError(f"ts has shape {ts.shape}, allowed: [n + 1]")
    return ts


def as_floating(leaf: State) -> Array:
    """A number or array as a floating-point array: an integer state would be rounded every step."""
    leaf = jnp.asarray(host_array("x", leaf) if isinstance(leaf, np.ndarray) else leaf)
    return leaf.astype(jnp.result_type(leaf, float))


def prepend(x: State, later: State) -> State:
    """The trajectory [n + 1, ...] from its first state and the n later ones."""
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), x, later)


def _advance(
    x: State,
    h: float | Float[Array, ""],
    weights: Sequence[float],
    slopes: Sequence[State],
) -> State:
    used = [(w, k) for w, k in zip(weights, slopes) if w != 0]
    if not used:
        return x

    def leaf(x, *ks):
        return (x + h * sum(w * k for (w, _), k in zip(used, ks))).astype(x.dtype)

    return jax.tree.map(leaf, x, *(k for _, k in used))
