"""Sliced score matching (song2020sliced): the score is compared along random directions."""

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.checks import same_shape
from gen_jax.diffusion import DIVERGENCES
from gen_jax.energy.implicit import Score, per_example
from gen_jax.errors import check_range
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.types import Array, Float, Key


@floats(x="...")
def sliced(
    key: Key[Array, "*batch"],
    score: Score,
    x: Float[Array, "B ..."],
    *,
    projections: int = 1,
    reduced: bool = False,
) -> Float[Array, "B"]:
    """v^T (ds/dx) v + 1/2 (v^T s)^2, v ~ N(0, I), averaged over `projections` (eq. 7).

    With `reduced` the second term is its mean over v, 1/2 |s|^2 (eq. 8). As E[v v^T] = I, both have
    the mean of implicit score matching.

    Args:
      key: one key, or one per example [B].
    Raises ConfigError for projections < 1.
    """
    check_range("projections", projections, 1, integer=True)
    keys = sample_keys(key, len(x))

    def one(index: Array) -> Array:
        v = normal(fold_in(keys, index), x.shape[1:], x.dtype)
        value, curvature = DIVERGENCES["hutchinson"](same_shape("score", score), x, v)
        norm = per_example(value**2) if reduced else per_example(v * value) ** 2
        return curvature + 0.5 * norm

    return jax.lax.map(one, jnp.arange(projections)).mean(0)
