"""k-means++ seeding (arthur2007), greedy: the start of EM and of gradient descent."""

import math

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.classical.components import COVARIANCES, Mixture
from gen_jax.errors import DataError, check_choice, check_range
from gen_jax.types import Array, Float, Key


@floats(key="key", x="N D")
def plus_plus(
    key: Key[Array, ""], x: Float[Array, "N D"], k: int
) -> tuple[Float[Array, "k D"], Float[Array, "N"]]:
    """k of the points, far from each other, and every point's squared distance to the nearest.

    Each next centre is the best of 2 + log k candidates drawn with probability in proportion to
    that distance. Raises ConfigError for k < 1, DataError where there are no points.
    """
    check_range("k", k, 1, integer=True)
    if not x.size:
        raise DataError(f"x has shape {x.shape}, allowed: [N, D] with a point at least")
    trials = 2 + int(math.log(k))
    distance = lambda centres: jnp.sum((x - centres[:, None]) ** 2, -1)
    key_first, key = jax.random.split(key)
    first = x[jax.random.randint(key_first, (), 0, x.shape[0])]

    def choose(carry, key):
        nearest = carry
        candidates = x[jax.random.categorical(key, jnp.log(nearest), shape=(trials,))]
        reached = jnp.minimum(nearest, distance(candidates))
        best = jnp.argmin(reached.sum(1))
        return reached[best], candidates[best]

    nearest, others = jax.lax.scan(choose, distance(first[None])[0], jax.random.split(key, k - 1))
    return jnp.concatenate([first[None], others]), nearest


def variance_floor(x: Float[Array, "N D"], epsilon: float | Array) -> Float[Array, "D"]:
    """epsilon times the variance of the data in each dimension [D].

    A dimension in which the data do not vary counts with the mean variance of all.
    """
    variances = x.var(0)
    # A constant far from 0 has a mean, and so a variance, of rounding.
    varies = jnp.any(x != x[0], 0)
    return epsilon * jnp.where(varies, variances, jnp.where(varies, variances, 0).mean())


@floats(key="key", x="N D")
def start_mixture(
    key: Key[Array, ""],
    x: Float[Array, "N D"],
    k: int,
    covariance: str = "full",
    floor: float | Array = 0.0,
) -> Mixture:
    """Equal round components at k-means++ centres, as wide as the points lie around these.

    The mean of `floor`, a number or `variance_floor`, is added to their variances. Errors as of
    `plus_plus`, and ConfigError for a covariance that is not in COVARIANCES.
    """
    check_choice("covariance", covariance, COVARIANCES)
    means, nearest = plus_plus(key, x, k)
    tiny = jnp.finfo(x.dtype).tiny
    added = jnp.mean(jnp.asarray(floor, x.dtype))
    variance = jnp.maximum(nearest.mean() / x.shape[1], tiny) + added
    covariances = COVARIANCES[covariance](means.shape, variance)
    return Mixture(jnp.full((k,), 1 / k, x.dtype), means, covariances)
