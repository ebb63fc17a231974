"""What a GAN has learnt: paths and sums of latents, and whether the critic has learnt by heart.

Modes covered and nearest neighbours are those of `gen_jax.metrics`, optimal critics are in
`optimal`.
"""

from typing import NamedTuple

import jax.numpy as jnp

from gen_jax.types import Array, Float


def spherical(
    start: Float[Array, "B L"], end: Float[Array, "B L"], share: Float[Array, "T"]
) -> Float[Array, "T B L"]:
    """Great arcs from start to end, length included (white2016).

    A straight line between normal latents passes through norms that they never have; the arc does
    not. Parallel ends are joined by the line.
    """
    lengths = [jnp.linalg.norm(z, axis=1, keepdims=True) for z in (start, end)]
    cosine = jnp.sum(start * end, 1, keepdims=True) / (lengths[0] * lengths[1])
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    sine, t = jnp.sin(angle), share[:, None, None]
    arc = sine > 1e-4
    safe = jnp.where(arc, sine, 1.0)
    first = jnp.where(arc, jnp.sin((1 - t) * angle) / safe, 1 - t)
    last = jnp.where(arc, jnp.sin(t * angle) / safe, t)
    return first * start + last * end


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
    """Signs that a critic knows its training examples.

    Fields:
      ratio: (train - heldout) / (train - fake) of mean scores: 0 where training and held-out
        examples look the same, 1 where held-out ones look generated (karras2020, r_v).
      sure: mean sign of the training scores, 1 when all are surely real (karras2020, r_t).
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
