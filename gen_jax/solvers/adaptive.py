"""Adaptive Runge-Kutta methods from diffrax, behind the same `f(x, t)` as the fixed-step ones.

diffrax is imported on first use, which keeps `import gen_jax.solvers` quick.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.checks import same_shape
from gen_jax.errors import check_choice, check_range
from gen_jax.solvers.ode import as_floating
from gen_jax.types import Array, Bool, Float, Int, State

METHODS: dict[str, str] = {"dopri5": "Dopri5", "tsit5": "Tsit5"}
"""Method by name -> diffrax class; both of order 5.

A step calls f six times: its last slope is the first of the next.
"""

_CALLS_PER_STEP = 6
_FIRST_STEP = 0.01


class Stats(NamedTuple):
    """What a solve cost: steps tried and accepted, exact calls of f; whether t1 was reached."""

    num_steps: Int[Array, ""]
    num_accepted: Int[Array, ""]
    calls: Int[Array, ""]
    success: Bool[Array, ""]


def integrate(
    f: Callable[[State, Array], State],
    x: State,
    t0: float | Float[Array, ""],
    t1: float | Float[Array, ""],
    *,
    method: str = "dopri5",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 4096,
) -> tuple[State, Stats]:
    """Integrate dx/dt = f(x, t) from t0 to t1, t0 < t1 or not, to the local error atol + rtol |x|.

    One step size serves the whole state (the root mean square of the scaled errors of each array,
    the largest of them), so within the tolerance a sample depends on its batch; `jax.vmap` over
    samples gives each its own steps.
    Compiled at each eager call, for f may read values that have changed since; `jax.jit` of a
    function that calls `integrate` holds the program.

    Args:
      f: `(x, t []) -> dx/dt`, of x's structure and shapes; it is given one dtype, float32 at least.
      x: state at t0, any pytree of arrays; the result has its dtypes.
    Returns (x at t1, stats). If max_steps does not reach t1 the state is NaN and
    `stats.success` False.
    Raises ConfigError for an unknown method or a tolerance or max_steps that is not positive.
    """
    check_choice("method", method, METHODS)
    check_range("rtol", rtol, 0, open_low=True)
    check_range("atol", atol, 0, open_low=True)
    check_range("max_steps", max_steps, 1, integer=True)
    import diffrax

    solver = getattr(diffrax, METHODS[method])()
    controller = diffrax.PIDController(rtol=rtol, atol=atol, norm=_largest_rms)

    def solve(x: State, t0: Array, t1: Array) -> tuple[State, Stats]:
        # A function of its own: diffrax would find the program of the same f again.
        slope = lambda x, t: f(x, t)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(_field),  # type: ignore[arg-type]
            solver,
            t0,
            t1,
            _FIRST_STEP * (t1 - t0),
            x,
            args=slope,
            stepsize_controller=controller,
            # The first slope is given: diffrax would compute it again after each rejected first
            # step.
            solver_state=(jnp.array(False), _field(t0, x, slope)),
            max_steps=max_steps,
            throw=False,
        )
        success = solution.result == diffrax.RESULTS.successful
        last = jax.tree.map(lambda leaf: jnp.where(success, leaf[-1], jnp.nan), solution.ys)
        steps, accepted = (
            jnp.asarray(solution.stats[name]) for name in ("num_steps", "num_accepted_steps")
        )
        return last, Stats(steps, accepted, 1 + _CALLS_PER_STEP * steps, jnp.asarray(success))

    given = jax.tree.map(as_floating, x)
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(given))
    wide = jax.tree.map(lambda leaf: leaf.astype(dtype), given)
    last, stats = jax.jit(solve)(wide, jnp.asarray(t0, dtype), jnp.asarray(t1, dtype))
    return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), last, given), stats


def _largest_rms(error: State) -> Array:
    """Of the arrays: a number beside an array of many does not drown in it."""
    rms = [jnp.sqrt(jnp.mean(leaf**2)) for leaf in jax.tree.leaves(error)]
    return jnp.max(jnp.stack(rms))


def _field(t: Array, x: State, f: Callable[[State, Array], State]) -> State:
    return jax.tree.map(lambda leaf, slope: slope.astype(leaf.dtype), x, same_shape("f", f)(x, t))
