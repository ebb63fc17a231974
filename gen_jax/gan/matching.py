"""A critic that must read its condition (GAN-CLS), and conditions between two (GAN-INT).

The critic separates real examples under their own condition from generated ones, and from real ones
under another's condition. The generator also learns from means of two conditions, for which there
are no data (reed2016, algorithm 1 and eq. 5).
"""

from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.gan.losses import ScoreLoss
from gen_jax.gan_nets.conditioning import Mixed
from gen_jax.types import Array, Bool, Float


@shaped()
def matching_loss(
    loss: ScoreLoss,
    real: Float[Array, "B"],
    mismatched: Float[Array, "B"],
    fake: Float[Array, "B"],
    differs: Bool[Array, "B"],
    share: float = 0.5,
) -> Float[Array, "B"]:
    """(1 - share) loss(real, fake) + share loss(real, mismatched).

    With logits and share 1/2 of "non_saturating" that is reed2016's

        -log D(x, t) - (log(1 - D(x, t')) + log(1 - D(G(z, t), t))) / 2.

    Args:
      loss: the critic's, of real and generated scores.
      mismatched: scores of real examples under another's condition t'.
      differs: whether t' is not t; where it is t, `fake` takes the place of `mismatched`.
    """
    plain = loss(real, fake)
    return (1 - share) * plain + share * jnp.where(differs, loss(real, mismatched), plain)


def of_the_next(condition: Any) -> Any:
    """Each example's condition is the next one's, [B, ...]."""
    return jax.tree.map(lambda value: jnp.roll(value, 1, axis=0), condition)


def differs(condition: Any, other: Any) -> Bool[Array, "B"]:
    """Whether the values of an example differ."""
    row = lambda a, b: jnp.any((a != b).reshape(len(a), -1), axis=1)
    found = jax.tree.leaves(jax.tree.map(row, condition, other))
    return jnp.any(jnp.stack(found), axis=0)


def halfway(condition: Any, other: Any) -> Mixed:
    """The mean of two conditions of each example."""
    return Mixed(condition, other, jnp.full(len(jax.tree.leaves(condition)[0]), 0.5))
