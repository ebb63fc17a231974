"""Rejection refinement: a flow's samples, thinned to the target where it is off."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.checks import check_per_point, per_point
from gen_jax.errors import check_range
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.sampling.rejection import exceeds
from gen_jax.types import Array, Float, Key

MARGIN = 1.5
"""The bound on p / q in units of Z (the authors' value; too low for a flow far from its target)."""


SHRINK, SMALLEST = 4, 64
"""Proposals are made for a quarter as many samples whenever no more are left, but not for fewer."""


class Refinement(NamedTuple):
    """What a refinement did.

    Fields:
      acceptance: share of all first proposals accepted.
      above: share of them whose p / q exceeds the bound by more than rounding; there the result
        stays biased.
      unfilled: share of samples without an accepted proposal, which keep their last one.
    """

    acceptance: Float[Array, ""]
    above: Float[Array, ""]
    unfilled: Float[Array, ""]


def refine(
    key: Key[Array, "*batch"],
    propose: Callable[[Array], tuple[Array, Array]],
    log_density: Callable[[Array], Array],
    log_normalizer: float | Float[Array, ""],
    n: int,
    *,
    margin: float = MARGIN,
    max_rounds: int | None = None,
) -> tuple[Float[Array, "n D"], Refinement]:
    """n samples by rejection from q with the bound M = margin Z on p / q.

    Accepts a proposal with probability min(1, p / (q M)): exact if p / q never exceeds M, which is
    not known, so the share above it is reported. Every sample has its own proposals.

    Args:
      key: one key, or one per sample [n].
      propose: `keys [m] -> (x [m, D], log q [m])`, for m = n and for fewer.
      log_normalizer: estimate of log Z of `log_density`.
      max_rounds: 10 margin, at least 100, if not given: about 1 / margin is accepted in each.
    Raises ConfigError for numbers out of range, and unless both log-densities are [m].
    """
    check_range("margin", margin, 0, open_low=True)
    if max_rounds is None:
        max_rounds = max(100, math.ceil(10 * margin))
    check_range("max_rounds", max_rounds, 1, integer=True)
    keys = sample_keys(key, n)
    log_bound = math.log(margin) + log_normalizer

    def proposal(keys, index):
        key_propose, key_accept = (fold_in(fold_in(keys, index), use) for use in (0, 1))
        x, log_q = propose(key_propose)
        check_per_point("log q of propose", log_q, len(x))
        terms = per_point("log_density", log_density)(x), -log_q, -jnp.asarray(log_bound)
        u = jax.vmap(lambda k: jax.random.uniform(k, (), x.dtype))(key_accept)
        return x, jnp.log(u) < terms[0] + terms[1] + terms[2], exceeds(*terms)

    first, accepted, above = proposal(keys, jnp.int32(0))

    def rounds(size, enough, carry):
        """Proposals for `size` samples at once, until `enough` or fewer are left without one."""

        def body(carry):
            x, done, index = carry
            rows = jnp.nonzero(~done, size=size, fill_value=n)[0]  # n stands for none
            new, accept, _ = proposal(keys[rows], index)
            put = lambda values, at_rows: values.at[rows].set(at_rows, mode="drop")
            return put(x, new), put(done, accept), index + 1

        going = lambda carry: (carry[2] < max_rounds) & (jnp.sum(~carry[1]) > enough)
        return jax.lax.while_loop(going, body, carry)

    sizes = [n]
    while sizes[-1] >= SHRINK * SMALLEST:
        sizes.append(sizes[-1] // SHRINK)
    carry = first, accepted, jnp.int32(1)
    for size, enough in zip(sizes, [*sizes[1:], 0]):
        carry = rounds(size, enough, carry)
    x, done, _ = carry
    return x, Refinement(accepted.mean(), above.mean(), jnp.mean(~done))
