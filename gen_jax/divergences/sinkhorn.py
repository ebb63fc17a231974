"""Entropic optimal transport by Sinkhorn's iteration (cuturi2013), for any cost matrix.

    minimise over plans P with marginals a, b:  <P, C> + epsilon KL(P | a b^T).

The solution is P = exp(F_i + G_j - C_ij / epsilon). Ten iterations at a time scale the rows and
columns of the current plan (two products with a matrix); their factors are then absorbed into F and
G (schmitzer2019), and where they would leave the safe range those ten are done again in logarithms.
So no epsilon overflows, and the usual iteration costs no exponential.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_floats, no_type_check
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int, Num

BLOCK = 10
"""Iterations between two looks at the error."""
_SAFE = 20.0
"""Largest |log| of a factor: plan entries lost to underflow stay below e^-47."""


class Solution(NamedTuple):
    """Scaled potentials and how well they fit; P = exp(F + G - C / epsilon).

    Fields:
      row_potential, column_potential: F [M] and G [N], without unit.
      error: sum over rows of |row sum of P - a|; the columns fit to rounding.
      iterations: made.
    """

    row_potential: Float[Array, "M"]
    column_potential: Float[Array, "N"]
    error: Float[Array, ""]
    iterations: Int[Array, ""]

    def log_plan(self, cost: Float[Array, "M N"], epsilon: float | Array) -> Float[Array, "M N"]:
        """log P, -infinite in bins without mass, whatever their costs."""
        f, g = self.row_potential[:, None], self.column_potential
        empty = jnp.isneginf(f) | jnp.isneginf(g)
        return jnp.where(empty, -jnp.inf, f + g - cost / epsilon)


@no_type_check
def solve(
    cost: Num[Array | np.ndarray, "M N"],
    epsilon: float | Float[Array, ""],
    weights_a: Num[Array | np.ndarray, "M"] | None = None,
    weights_b: Num[Array | np.ndarray, "N"] | None = None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
) -> Solution:
    """Iterate until `error` <= tolerance, looked at every 10 iterations, or `max_iterations`.

    Args:
      epsilon: in units of the cost; an array may be traced. The smaller, the more iterations.
      weights_a, weights_b: masses, not negative, of one sum; uniform of sum 1 by default. A bin
        without mass is left out, whatever its costs: its potential is -inf and its part of the
        plan 0.
    Passes no gradient. Raises ConfigError for numbers out of range, shapes that do not fit and
    masses that are negative or do not agree; under jit, where the masses are not known, these give
    NaN.
    """
    if not isinstance(epsilon, jax.Array):
        check_range("epsilon", epsilon, 0, open_low=True)
    check_range("tolerance", tolerance, 0)
    check_range("max_iterations", max_iterations, 1, integer=True)
    cost = as_floats("cost", cost)
    a, b = _masses(weights_a, weights_b, cost)
    log_a, log_b = jnp.log(a), jnp.log(b)
    kept_a, kept_b = a != 0, b != 0  # NaN stays, and shows
    score = -jax.lax.stop_gradient(cost / epsilon)
    score = jnp.where(kept_a[:, None] & kept_b, score, 0)  # of a bin without mass: any number

    def in_logarithms(f, g, count):
        def update(_, potentials):
            f = log_a - jax.nn.logsumexp(score + potentials[1], axis=1)
            return f, log_b - jax.nn.logsumexp(score + f[:, None], axis=0)

        f, g = jax.lax.fori_loop(0, count, update, (f, g))
        return f, g, jnp.sum(jnp.abs(jnp.exp(score + f[:, None] + g).sum(1) - a))

    def by_scaling(f, g, count):
        plan = jnp.exp(score + f[:, None] + g)
        times = lambda x, y: jnp.matmul(x, y, precision="highest")

        def update(_, scales):
            u = jnp.where(kept_a, a / times(plan, scales[1]), 1)
            return u, jnp.where(kept_b, b / times(u, plan), 1)

        u, v = jax.lax.fori_loop(0, count, update, (jnp.ones_like(a), jnp.ones_like(b)))
        error = jnp.sum(jnp.abs(u * times(plan, v) - a))
        return f + jnp.log(u), g + jnp.log(v), error

    def unfinished(state):
        return (state.error > tolerance) & (state.iterations < max_iterations)

    def block(state):
        f, g, _, done = state
        count = jnp.minimum(BLOCK, max_iterations - done)
        new_f, new_g, error = by_scaling(f, g, count)
        largest = lambda kept, new, old: jnp.max(jnp.where(kept, jnp.abs(new - old), 0))
        moved = jnp.maximum(largest(kept_a, new_f, f), largest(kept_b, new_g, g))
        f, g, error = jax.lax.cond(
            moved <= _SAFE, lambda: (new_f, new_g, error), lambda: in_logarithms(f, g, count)
        )
        return Solution(f, g, error, done + count)

    f, g, error = in_logarithms(jnp.zeros_like(a), jnp.where(kept_b, 0, log_b), 1)
    return jax.lax.while_loop(unfinished, block, Solution(f, g, error, jnp.ones((), jnp.int32)))


AGREEMENT = 1e-4
"""Largest relative difference of the two sums of masses, or the rounding of one of them."""


def _masses(weights_a, weights_b, like: Float[Array, "M N"]) -> tuple[Array, Array]:
    """Both masses; NaN under jit where they are negative or do not agree."""
    pair = []
    if like.ndim != 2:
        raise ConfigError(f"cost has shape {like.shape}, allowed: [M, N]")
    for name, weights, size in zip("ab", (weights_a, weights_b), like.shape):
        if weights is None:
            weights = jnp.full(size, 1 / size, like.dtype)
        weights = as_floats(f"weights_{name}", weights)
        if weights.shape != (size,):
            raise ConfigError(f"weights_{name} has shape {weights.shape}, allowed: ({size},)")
        pair.append(jax.lax.stop_gradient(weights).astype(like.dtype))
    if weights_a is None and weights_b is None:
        return pair[0], pair[1]
    lowest, (sum_a, sum_b) = jnp.minimum(*(w.min() for w in pair)), (w.sum() for w in pair)
    tolerance = max(AGREEMENT, float(jnp.finfo(like.dtype).eps))
    agree = jnp.abs(sum_a - sum_b) <= tolerance * jnp.minimum(sum_a, sum_b)
    right = (lowest >= 0) & agree & (sum_a > 0) & jnp.isfinite(sum_a)
    if not isinstance(right, jax.core.Tracer) and not right:
        raise ConfigError(
            f"weights_a and weights_b have sums {float(sum_a):g} and {float(sum_b):g} and smallest "
            f"value {float(lowest):g}, allowed: masses >= 0 of one positive sum"
        )
    a, b = (jnp.where(right, w, jnp.nan) for w in pair)
    return a, b


@no_type_check
def entropic_cost(
    cost: Num[Array | np.ndarray, "M N"],
    epsilon: float | Float[Array, ""],
    weights_a: Num[Array | np.ndarray, "M"] | None = None,
    weights_b: Num[Array | np.ndarray, "N"] | None = None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
) -> Float[Array, ""]:
    """<P, C> + epsilon sum P log(P / (a b^T)) at the minimum, in units of the cost; as `solve`.

    Its gradient with respect to the cost is the plan (the envelope theorem): no iteration is
    differentiated.
    """
    cost = as_floats("cost", cost)
    solution = solve(
        cost, epsilon, weights_a, weights_b, tolerance=tolerance, max_iterations=max_iterations
    )
    a, b = _masses(weights_a, weights_b, cost)
    # a log a is 0 where a is.
    part = lambda a, potential: jnp.sum(jnp.where(a == 0, 0, a * (potential - jnp.log(a))))
    value = epsilon * (part(a, solution.row_potential) + part(b, solution.column_potential))
    fixed = jax.lax.stop_gradient(cost)
    plan = jnp.exp(solution.log_plan(fixed, epsilon))
    return value + jnp.sum(jnp.where(plan == 0, 0, plan * (cost - fixed)))
