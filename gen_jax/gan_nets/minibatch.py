"""Features of an example among its batch, by which a critic sees that samples are all alike."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.types import Array, Float


def minibatch_deviation(h: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
    """h with one more channel: the mean of its standard deviations over the batch (karras2018)."""
    spread = jnp.mean(jnp.sqrt(jnp.var(h, axis=0) + 1e-8))
    return jnp.concatenate([h, jnp.broadcast_to(spread, (*h.shape[:-1], 1))], -1)


class MinibatchDiscrimination(nn.Module):
    """h beside its closeness to the others in the batch (salimans2016, sec. 3.2).

    M = h T [B, rows, columns]; row b of example i adds sum over j != i of exp(-|M_ib - M_jb|_1).
    """

    rows: int = 16
    columns: int = 8

    @nn.compact
    def __call__(self, h: Float[Array, "B D"]) -> Float[Array, "B D2"]:
        m = nn.Dense(self.rows * self.columns, use_bias=False)(h).reshape(len(h), self.rows, -1)
        distance = jnp.abs(m[:, None] - m[None]).sum(-1)
        closeness = jnp.exp(-distance).sum(1) - 1  # but for itself, at distance 0
        return jnp.concatenate([h, closeness], -1)


MINIBATCH: dict[str, Callable[[Array], Array]] = {
    "none": lambda h: h,
    "deviation": minibatch_deviation,
    "discrimination": lambda h: MinibatchDiscrimination()(h),
}
"""Statistics of a batch that a critic may see; call inside a compact method."""
