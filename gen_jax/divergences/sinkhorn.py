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

from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int

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
        """log P."""
        return self.row_potential[:, None] + self.column_potential - cost / epsilon


def solve(
    cost: Float[Array, "M N"],
    epsilon: float | Float[Array, ""],
    weights_a: Float[Array, "..."] | None = None,
    weights_b: Float[Array, "..."] | None = None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
) -> Solution:
    """Iterate until `error` <= tolerance, looked at every 10 iterations, or `max_iterations`.

    Args:
      epsilon: in units of the cost; an array may be traced. The smaller, the more iterations.
      weights_a, weights_b: positive, of sum 1; uniform by default.
    Passes no gradient. Raises ConfigError for numbers out of range and shapes that do not fit.
    """
    if not isinstance(epsilon, jax.Array):
        check_range("epsilon", epsilon, 0, open_low=True)
    check_range("tolerance", tolerance, 0)
    check_range("max_iterations", max_iterations, 1, integer=True)
    score = -jax.lax.stop_gradient(cost / epsilon)
    a, b = (_weights(w, n, score) for w, n in zip((weights_a, weights_b), score.shape))
    log_a, log_b = jnp.log(a), jnp.log(b)

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
            u = a / times(plan, scales[1])
            return u, b / times(u, plan)

        u, v = jax.lax.fori_loop(0, count, update, (jnp.ones_like(a), jnp.ones_like(b)))
        error = jnp.sum(jnp.abs(u * times(plan, v) - a))
        return f + jnp.log(u), g + jnp.log(v), error

    def unfinished(state):
        return (state.error > tolerance) & (state.iterations < max_iterations)

    def block(state):
        f, g, _, done = state
        count = jnp.minimum(BLOCK, max_iterations - done)
        new_f, new_g, error = by_scaling(f, g, count)
        moved = jnp.maximum(jnp.max(jnp.abs(new_f - f)), jnp.max(jnp.abs(new_g - g)))
        f, g, error = jax.lax.cond(
            moved <= _SAFE, lambda: (new_f, new_g, error), lambda: in_logarithms(f, g, count)
        )
        return Solution(f, g, error, done + count)

    f, g, error = in_logarithms(jnp.zeros_like(a), jnp.zeros_like(b), 1)
    return jax.lax.while_loop(unfinished, block, Solution(f, g, error, jnp.ones((), jnp.int32)))


def _weights(weights: Array | None, size: int, like: Array) -> Array:
    if weights is None:
        return jnp.full(size, 1 / size, like.dtype)
    if weights.shape != (size,):
        raise ConfigError(f"weights have shape {weights.shape}, allowed: ({size},)")
    return jax.lax.stop_gradient(weights).astype(like.dtype)


def entropic_cost(
    cost: Float[Array, "M N"],
    epsilon: float | Float[Array, ""],
    weights_a: Float[Array, "..."] | None = None,
    weights_b: Float[Array, "..."] | None = None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
) -> Float[Array, ""]:
    """<P, C> + epsilon KL(P | a b^T) at the minimum, in units of the cost; arguments as `solve`.

    Its gradient with respect to the cost is the plan (the envelope theorem): no iteration is
    differentiated.
    """
    solution = solve(
        cost, epsilon, weights_a, weights_b, tolerance=tolerance, max_iterations=max_iterations
    )
    a, b = (_weights(w, n, cost) for w, n in zip((weights_a, weights_b), cost.shape))
    row, column = solution.row_potential - jnp.log(a), solution.column_potential - jnp.log(b)
    value = epsilon * (jnp.sum(a * row) + jnp.sum(b * column))
    fixed = jax.lax.stop_gradient(cost)
    plan = jnp.exp(solution.log_plan(fixed, epsilon))
    return value + jnp.sum(plan * (cost - fixed))
