"""What a GAN has learnt: paths and sums of latents, and whether the critic has memorised its data.

Modes covered and nearest neighbours are those of `gen_jax.metrics`, optimal critics are in
`optimal`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.sampling import slerp
from gen_jax.types import Array, Float


def spherical(
    start: Float[Array, "B L"], end: Float[Array, "B L"], share: Float[Array, "T"]
) -> Float[Array, "T B L"]:
    """Arcs from start to end at the shares t of the way: `sampling.slerp` (white2016)."""
    return jax.vmap(slerp, (None, None, 0))(start, end, share)


def analogy(
    a: Float[Array, "A L"], b: Float[Array, "B L"], c: Float[Array, "C L"]
) -> Float[Array, "L"]:
    """mean(a) - mean(b) + mean(c): what a has and b has not, given to c (radford2016).

    Rescaled to the root mean square length of c's latents, as means of normal latents are short.
    """
    z = a.mean(0) - b.mean(0) + c.mean(0)
    length = jnp.sqrt(jnp.mean(jnp.sum(c**2, 1)))
    return z * length / jnp.maximum(jnp.linalg.norm(z), 1e-12)


class Overfitting(NamedTuple):
    """Signs that a critic has memorised its training examples.

    Fields:
      ratio: (train - heldout) / (train - fake) of mean scores: 0 where training and held-out
        examples look the same, 1 where held-out ones look generated (karras2020ada, r_v).
      sure: mean sign of the training scores, 1 when all are surely real (karras2020ada, r_t).
    """

    ratio: Float[Array, ""]
    sure: Float[Array, ""]


def overfitting(
    train: Float[Array, "N"], heldout: Float[Array, "M"], fake: Float[Array, "L"]
) -> Overfitting:
    """The signs from scores of training examples, of held-out ones, and of samples."""
    gap = jnp.mean(train) - jnp.mean(fake)
    ratio = (jnp.mean(train) - jnp.mean(heldout)) / jnp.where(gap == 0, 1.0, gap)
    return Overfitting(ratio, jnp.mean(jnp.sign(train)))
