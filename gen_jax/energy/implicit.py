"""Explicit and implicit score matching (hyvarinen2005), for a score s(x) = grad log q(x).

    explicit:  1/2 |s(x) - s*(x)|^2,   s* the score of the data's density p;
    implicit:  tr(ds/dx) + 1/2 |s(x)|^2   (theorem 1), which is smaller by 1/2 E|s*|^2 in the mean:

no density of the data is needed. The trace is exact (D derivatives) or Hutchinson's estimate (one).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.checks import same_shape
from gen_jax.diffusion import DIVERGENCES
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Key

Score = Callable[[Array], Array]
"""`x [B, ...] -> [B, ...]`, each example by itself."""


def per_example(values: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Sums over all axes but the first."""
    return jnp.sum(values, axis=tuple(range(1, values.ndim)))


@floats(x="...")
def explicit(score: Score, true_score: Score, x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """1/2 |s(x) - s*(x)|^2 (hyvarinen2005 eq. 2); its mean is half the Fisher divergence."""
    score, true_score = same_shape("score", score), same_shape("true_score", true_score)
    return 0.5 * per_example((score(x) - true_score(x)) ** 2)


@floats(x="...")
def implicit(
    key: Key[Array, "*batch"], score: Score, x: Float[Array, "B ..."]
) -> Float[Array, "B"]:
    """tr(ds/dx) + 1/2 |s|^2 with the exact trace (hyvarinen2005 eq. 4); the key is not used."""
    value, trace = DIVERGENCES["exact"](same_shape("score", score), x, x)
    return trace + 0.5 * per_example(value**2)


@floats(x="...")
def hutchinson(
    key: Key[Array, "*batch"], score: Score, x: Float[Array, "B ..."]
) -> Float[Array, "B"]:
    """v^T (ds/dx) v + 1/2 |s|^2 with Rademacher v (hutchinson1990): `implicit` in the mean.

    It is also the variance-reduced sliced loss (song2020sliced eq. 8) with that law of v. `key` is
    one key, or one per example.
    """
    draw = lambda key: jax.random.rademacher(key, x.shape[1:], x.dtype)
    v = jax.vmap(draw)(sample_keys(key, len(x)))
    value, trace = DIVERGENCES["hutchinson"](same_shape("score", score), x, v)
    return trace + 0.5 * per_example(value**2)
