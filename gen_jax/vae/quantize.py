"""Vector quantisation (oord2017): nearest codes, straight-through gradients, codebooks that follow.

    loss = -log p(x | q) + |sg(z) - q|^2 + commitment |z - sg(q)|^2,   q = the code nearest to z

The codebook follows the encodings by its own term, or by running averages (razavi2019), an online
k-means. Codes that nothing is near to any more are put back among the encodings of the batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Int, Key

SMOOTHING = 1e-5
"""Added to running counts, so that no code is divided by nothing."""


class Codebook(NamedTuple):
    """Codes [K, D] with the running number [K] and sum [K, D] of the encodings nearest to each."""

    vectors: Float[Array, "K D"]
    counts: Float[Array, "K"]
    sums: Float[Array, "K D"]


def start_codebook(key: Key[Array, ""], z: Float[Array, "N D"], size: int) -> Codebook:
    """`size` different encodings of a batch as the first codes.

    Raises ConfigError when the batch has fewer encodings than the codebook codes.
    """
    if size > len(z):
        raise ConfigError(
            f"codes={size} is larger than the data: the first batch has {len(z)} encodings "
            "(choose fewer codes, or a larger batch)"
        )
    vectors = z[jax.random.permutation(key, len(z))[:size]].astype(jnp.float32)
    return Codebook(vectors, jnp.ones(size), vectors)


def nearest(z: Float[Array, "*B D"], vectors: Float[Array, "K D"]) -> Int[Array, "*B"]:
    """Index of the code at the smallest Euclidean distance, in float32."""
    # Around the codes' mean: the products would lose what is small beside a common shift.
    centre = vectors.mean(0)
    flat = z.reshape(-1, z.shape[-1]).astype(jnp.float32) - centre
    vectors = vectors - centre
    cross = jnp.matmul(flat, vectors.T, precision="highest")
    # |z|^2 is the same for all codes.
    distance = jnp.sum(vectors**2, 1) - 2 * cross
    return jnp.argmin(distance, 1).astype(jnp.int32).reshape(z.shape[:-1])


def straight_through(z: Float[Array, "*B D"], q: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    """q, with the gradient of z."""
    return z + jax.lax.stop_gradient(q - z)


def quantisation_terms(
    z: Float[Array, "B ... D"], q: Float[Array, "B ... D"]
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """(codebook, commitment) terms per example: |sg(z) - q|^2 and |z - sg(q)|^2, summed."""
    total = lambda a: jnp.sum(a.reshape(len(a), -1) ** 2, 1)
    return total(jax.lax.stop_gradient(z) - q), total(z - jax.lax.stop_gradient(q))


def follow(
    codebook: Codebook, z: Float[Array, "N D"], codes: Int[Array, "N"], decay: float
) -> Codebook:
    """Running averages after one more batch; with decay 0 one step of k-means (Lloyd).

    A code's vector is its sum by its count. With decay 0 a code without encodings goes to 0 and is
    for `revive` to repair.
    """
    z = jax.lax.stop_gradient(z).astype(jnp.float32)
    chosen = jax.nn.one_hot(codes, len(codebook.counts))
    counts = decay * codebook.counts + (1 - decay) * chosen.sum(0)
    sums = decay * codebook.sums + (1 - decay) * jnp.matmul(chosen.T, z, precision="highest")
    return Codebook(sums / (counts + SMOOTHING)[:, None], counts, sums)


def revive(
    key: Key[Array, ""], codebook: Codebook, z: Float[Array, "N D"], threshold: float
) -> tuple[Codebook, Int[Array, ""]]:
    """Codes with a running count below `threshold` restart at encodings of this batch.

    Their count restarts at 1, so that they have time to find points; returns how many there were.
    """
    dead = codebook.counts < threshold
    rows = jax.random.choice(key, len(z), dead.shape, replace=len(z) < len(dead))
    fresh = jax.lax.stop_gradient(z)[rows].astype(jnp.float32)
    vectors = jnp.where(dead[:, None], fresh, codebook.vectors)
    counts = jnp.where(dead, 1.0, codebook.counts)
    sums = jnp.where(dead[:, None], fresh, codebook.sums)
    return Codebook(vectors, counts, sums), dead.sum()
