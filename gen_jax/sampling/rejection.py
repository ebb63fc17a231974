"""Rejection sampling with fixed shapes (vonneumann1951); TemperFlow refines with it (S4)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.checks import per_point
from gen_jax.errors import check_range
from gen_jax.types import Array, Bool, Float, Int, Key, Num


class Rejection(NamedTuple):
    """Draws and what the proposals showed.

    Fields:
      x: [n, ...]; the first `num_filled` rows are draws, the others are zero.
      num_filled: n, unless `max_rounds` was reached first.
      acceptance_rate: share of the proposals accepted; its log plus `log_bound` estimates
        log of the integral of exp(log_density).
      share_above: share of the proposals whose density ratio exceeds the bound by more than
        rounding. Where it is not 0 the draws follow min(p, M q) instead of p.
      num_proposals: proposals made, all rounds together.
      num_invalid: of these, with a NaN density or ratio: never accepted.
    """

    x: Num[Array, "n ..."]
    num_filled: Int[Array, ""]
    acceptance_rate: Float[Array, ""]
    share_above: Float[Array, ""]
    num_proposals: Int[Array, ""]
    num_invalid: Int[Array, ""]

    @property
    def filled(self) -> Bool[Array, "n"]:
        """Which rows of x are draws."""
        return jnp.arange(self.x.shape[0]) < self.num_filled


def exceeds(*terms: Float[Array, "..."] | float) -> Bool[Array, "..."]:
    """Whether a sum of logarithms is positive by more than the rounding of its terms.

    A bound that is attained would else be passed by half of the points that attain it.
    """
    parts = jnp.stack(jnp.broadcast_arrays(*terms))
    size = jnp.sum(jnp.where(jnp.isfinite(parts), jnp.abs(parts), 0), 0)
    return jnp.sum(parts, 0) > 8 * jnp.finfo(parts.dtype).eps * (1 + size)


@floats(key="key")
def rejection(
    key: Key[Array, ""],
    log_density: Callable[[Array], Array],
    propose: Callable[[Array, int], Array],
    log_proposal: Callable[[Array], Array],
    log_bound: float | Float[Array, ""],
    n: int,
    *,
    batch_size: int | None = None,
    max_rounds: int = 1000,
) -> Rejection:
    """n draws of p: keep x ~ q with probability p(x) / (M q(x)), M = exp(log_bound) >= p / q.

    Rounds of `batch_size` proposals (default n) until n are accepted, or `max_rounds`.

    Args:
      log_density, log_proposal: `x [B, ...] -> [B]`; log_density need not be normalised.
      propose: `(key, B) -> x [B, ...]`, draws of exp(log_proposal).
    Raises ConfigError for numbers out of range and densities of another shape.
    """
    check_range("n", n, 1, integer=True)
    check_range("max_rounds", max_rounds, 1, integer=True)
    log_p, log_q = per_point("log_density", log_density), per_point("log_proposal", log_proposal)
    size = n if batch_size is None else check_range("batch_size", batch_size, 1, integer=True)

    def unfinished(carry):
        index, _, counts = carry
        return (index < max_rounds) & (counts[0] < n)

    def one_round(carry):
        index, x, counts = carry
        key_propose, key_accept = jax.random.split(jax.random.fold_in(key, index))
        candidates = propose(key_propose, size)
        terms = log_p(candidates), -log_q(candidates), -jnp.asarray(log_bound)
        log_ratio = terms[0] + terms[1] + terms[2]
        invalid = jnp.isnan(log_ratio)
        u = jax.random.uniform(key_accept, (size,), log_ratio.dtype)
        accepted = ~invalid & (jnp.log1p(-u) < log_ratio)
        # The k-th accepted goes to the k-th free row; what is too many falls off the end.
        rows = jnp.where(accepted, counts[0] + jnp.cumsum(accepted, dtype=counts.dtype) - 1, n)
        x = x.at[rows].set(candidates, mode="drop")
        found = jnp.stack([accepted, exceeds(*terms), invalid])
        return index + 1, x, counts + jnp.sum(found, 1, dtype=counts.dtype)

    shape = jax.eval_shape(lambda key: propose(key, size), key)
    x = jnp.zeros((n, *shape.shape[1:]), shape.dtype)
    start = (jnp.zeros((), jnp.int32), x, jnp.zeros(3, jnp.int32))
    rounds, x, counts = jax.lax.while_loop(unfinished, one_round, start)
    proposals = rounds * size
    rates = counts / proposals
    filled = jnp.minimum(counts[0], n)
    return Rejection(x, filled, rates[0], rates[1], proposals, counts[2])
