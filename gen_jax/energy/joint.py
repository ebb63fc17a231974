"""A classifier as an energy of x and y together (grathwohl2020): p(x, y) is exp(f(x)[y]) / Z.

Then p(y | x) is the classifier's softmax, and p(x) has the energy -logsumexp of the logits.
"""

import jax
from jax.scipy.special import logsumexp

from gen_jax.annotations import shaped
from gen_jax.axes import entry_of
from gen_jax.conditions import check_in_range
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Int


def marginal_energy(logits: Float[Array, "B K"]) -> Float[Array, "B"]:
    """E(x) = -log sum_y exp(f(x)[y]) (grathwohl2020 eq. 6), in nats."""
    return -logsumexp(logits, axis=1)


@shaped()
def joint_energy(logits: Float[Array, "B K"], label: Int[Array, "B"]) -> Float[Array, "B"]:
    """E(x, y) = -f(x)[y] (grathwohl2020 eq. 4): that of p(x | y) too, up to a constant.

    Raises ConfigError for labels outside 0 .. K - 1; under jit these give NaN.
    """
    check_in_range("label", "labels", label, logits.shape[1] - 1, ConfigError)
    return -entry_of(logits, label)


@shaped()
def label_loss(logits: Float[Array, "B K"], label: Int[Array, "B"]) -> Float[Array, "B"]:
    """-log p(y | x) = E(x, y) - E(x) in nats.

    Raises ConfigError as `joint_energy`.
    """
    return joint_energy(jax.nn.log_softmax(logits), label)
