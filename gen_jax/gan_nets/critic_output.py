"""What a critic says of a batch, and how generators and critics are called.

A generator is a network `(z [B, L], condition [B, ...] or None, *, train=False) -> x [B, *shape]`,
a critic `(x [B, *shape], condition [B, ...] or None, *, train=False) -> CriticOutput`, or scores
[B] alone. Both are Flax Linen modules, or come from `nets.from_functions` or `nets.from_nnx`, which
are called without `train`. The condition is the value of the model's `condition`, such as labels,
or a `Mixed` of two. What is no parameter is in collections that move on when `train` is set:
"batch_stats" of normalisation over the batch, "spectral" of power iterations, others as a network
needs.

A network that takes further keyword arguments has an attribute `takes`, a tuple of their names:

    keys        [B] one key per example: noise inside the network that depends on no other example
    step        [] int32, updates made so far: fading in, annealing
    truncation  a number, only in sampling: for generators that truncate by themselves

A generator may have a method `shown(x [B, *shape], step) -> x`: real examples as its critic is to
see them in training at that step, beside what the generator makes of them (growing). Wrappers hand
on `takes` and `shown` of the network inside.
"""

from typing import Any, NamedTuple

from gen_jax.types import Array, Float


class CriticOutput(NamedTuple):
    """A critic's output.

    Fields:
      score: one number per example, high for real; a logit, a potential, or for BEGAN the
        reconstruction error. Its meaning is the loss's.
      features: what the last layer sees; needed by feature matching alone.
      logits: of the class, where the critic is a classifier too.
      code: of the generator's code, logits of its categories and then means of its numbers.
    """

    score: Float[Array, "B"]
    features: Float[Array, "B F"] | None = None
    logits: Float[Array, "B K"] | None = None
    code: Float[Array, "B C"] | None = None


def wanted(network: Any, offered: dict[str, Any]) -> dict[str, Any]:
    """Those of the offered keyword arguments that the network's `takes` names."""
    names = getattr(network, "takes", ())
    return {name: value for name, value in offered.items() if name in names}


def shown_by(network: Any, x: Float[Array, "B ..."], step: Any) -> Float[Array, "B ..."]:
    """Real examples as the network's `shown` gives them; x where it has none."""
    shown = getattr(network, "shown", None)
    return x if shown is None else shown(x, step)
