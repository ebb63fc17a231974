"""What a critic says of a batch, and how generators and critics are called.

A generator is a Flax module `(z [B, L], label [B] or None, *, train=False) -> x [B, *shape]`, a
critic `(x [B, *shape], label [B] or None, *, train=False) -> CriticOutput`. What is no parameter is
in collections that move on when `train` is set: "batch_stats" of normalisation over the batch,
"spectral" of power iterations, others as a network needs. A module that has further keyword
arguments of these names is given them:

    keys        [B] one key per example: noise inside the generator that knows no other example
    step        [] int32, updates made so far: fading in, annealing
    truncation  a number, only in sampling: for generators that truncate by themselves

A generator may have a method `shown(x [B, *shape], step) -> x`: real examples as its critic is to
see them in training at that step, beside what the generator makes of them (growing).
"""

from typing import NamedTuple

from gen_jax.types import Array, Float


class CriticOutput(NamedTuple):
    """A critic's output.

    Fields:
      score: one number per example, high for real; a logit, a potential, or for BEGAN the
        reconstruction error. Its meaning is the loss's.
      features: what the last layer sees.
      logits: of the class, where the critic is a classifier too.
      code: of the generator's code, logits of its categories and then means of its numbers.
    """

    score: Float[Array, "B"]
    features: Float[Array, "B F"]
    logits: Float[Array, "B K"] | None = None
    code: Float[Array, "B C"] | None = None
