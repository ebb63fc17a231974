"""A plain multi-layer perceptron whose outputs are zero before training."""

from flax import linen as nn

from gen_jax.types import Array, Float


class Feedforward(nn.Module):
    """silu layers of the given widths and a linear one to `size` outputs."""

    size: int
    hidden: tuple[int, ...] = (64, 64)

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B P"]:
        """[B, size]."""
        for width in self.hidden:
            x = nn.silu(nn.Dense(width)(x))
        return nn.Dense(self.size, kernel_init=nn.initializers.zeros, name="out")(x)
