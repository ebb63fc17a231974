"""k-means++ seeding (arthur2007), greedy: the start of EM and of gradient descent."""

import math

import jax
import jax.numpy as jnp

from gen_jax.classical.components import COVARIANCES, Mixture
from gen_jax.types import Array, Float, Key


def plus_plus(
    key: Key[Array, ""], x: Float[Array, "N D"], k: int
) -> tuple[Float[Array, "k D"], Float[Array, "N"]]:
    """k of the points, far from each other, and every point's squared distance to the nearest.

    Each next centre is the best of 2 + log k candidates drawn with probability in proportion to
    that distance.
    """
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


def start_mixture(
    key: Key[Array, ""],
    x: Float[Array, "N D"],
    k: int,
    covariance: str = "full",
    epsilon: float | Array = 0.0,
) -> Mixture:
    """Equal round components at k-means++ centres, as wide as the points lie around these."""
    means, nearest = plus_plus(key, x, k)
    tiny = jnp.finfo(x.dtype).tiny
    variance = jnp.maximum(nearest.mean() / x.shape[1], tiny) + epsilon
    covariances = COVARIANCES[covariance](means.shape, variance)
    return Mixture(jnp.full((k,), 1 / k, x.dtype), means, covariances)
