"""Discriminator rejection sampling: a logit is a density ratio, so samples can be thinned to the
data's law (azadi2019)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.sampling.rejection import Rejection, rejection
from gen_jax.types import Array, Float, Key


def log_acceptance(
    logits: Float[Array, "B"],
    log_bound: float | Float[Array, ""],
    shift: float | Float[Array, ""] = 0.0,
    epsilon: float = 1e-8,
) -> Float[Array, "B"]:
    """log of the probability to accept, azadi2019 eq. 8: sigmoid(F),

        F = d - log(1 - exp(d - epsilon)) - shift,    d = min(logit - log_bound, 0).

    With shift 0 and epsilon to 0 that is exp(d), the exact rule, for logits below `log_bound`; a
    positive shift accepts less and is stricter, a negative one accepts more and corrects less.
    """
    d = jnp.minimum(logits - log_bound, 0)
    return jax.nn.log_sigmoid(d - jnp.log(-jnp.expm1(d - epsilon)) - shift)


def largest_logit(logits: Float[Array, "N"]) -> Float[Array, ""]:
    """The bound that azadi2019 takes: the maximum over trial samples, heuristic as any such."""
    return jnp.max(logits)


def percentile_shift(
    logits: Float[Array, "N"], log_bound: float | Float[Array, ""], percentile: float = 80.0
) -> Float[Array, ""]:
    """The shift that accepts samples at this percentile of F half of the time (azadi2019, 3.3)."""
    d = jnp.minimum(logits - log_bound, 0)
    return jnp.percentile(d - jnp.log(-jnp.expm1(d - 1e-8)), percentile)


def discriminator_rejection(
    key: Key[Array, ""],
    propose: Callable[[Key[Array, ""], int], Array],
    logit: Callable[[Array], Array],
    log_bound: float | Float[Array, ""],
    n: int,
    *,
    shift: float | Float[Array, ""] = 0.0,
    batch_size: int | None = None,
    max_rounds: int = 1000,
) -> Rejection:
    """n samples of the generator, kept with the probability that makes them the data's.

    Args:
      propose: `(key, B) -> x [B, ...]`, the generator.
      logit: `x [B, ...] -> log(p / q) [B]`, the score of a critic of "minimax", "non_saturating" or
        any loss whose optimal critic is this ratio (`OPTIMAL_CRITICS`).
      log_bound: the largest logit, such as `largest_logit` of trial samples: ratios above it count
        as the bound itself, so that such regions stay too thin.
    """
    accept = lambda x: log_acceptance(logit(x), log_bound, shift)
    certain = lambda x: jnp.zeros(len(x))
    return rejection(
        key, accept, propose, certain, 0.0, n, batch_size=batch_size, max_rounds=max_rounds
    )
