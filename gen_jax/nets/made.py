"""Masked autoencoder (germain2015): outputs for a block depend on the blocks before it only."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int


class MADE(nn.Module):
    """`size` outputs for each of D coordinates, from the coordinates of the blocks before its own.

    Block k holds coordinates k block .. (k + 1) block - 1. Hidden units take the degrees 1 ..
    D / block - 1 in turn. All outputs are zero before training. A condition [B, E] shifts the first
    hidden layer and, linearly, the outputs.
    """

    dim: int
    size: int
    hidden: tuple[int, ...] = (64, 64)
    block: int = 1
    condition: int = 0

    def setup(self):
        check_range("block", self.block, 1, self.dim, integer=True)
        if self.dim % self.block:
            raise ConfigError(f"block={self.block} must divide the dimension {self.dim}")
        if not self.hidden:
            raise ConfigError("hidden=() must name at least one width")
        blocks, degrees = self.dim // self.block, [np.arange(self.dim) // self.block + 1]
        weights, masks = [], []
        for layer, width in enumerate(self.hidden):
            check_range("hidden", width, 1, integer=True)
            degrees.append(np.arange(width) % max(blocks - 1, 1) + 1)
            masks.append(degrees[-1] >= degrees[-2][:, None])
            shape = masks[-1].shape
            weights.append(
                (
                    self.param(f"kernel_{layer}", nn.initializers.lecun_normal(), shape),
                    self.param(f"bias_{layer}", nn.initializers.zeros, (width,)),
                )
            )
        self.weights, self.masks, self.degrees = weights, masks, degrees[-1]
        shape = (self.dim, self.hidden[-1], self.size)
        self.kernel = self.param("kernel", nn.initializers.zeros, shape)
        self.bias = self.param("bias", nn.initializers.zeros, (self.dim, self.size))
        if self.condition:
            lecun, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
            self.told = self.param("told", lecun, (self.condition, self.hidden[0]))
            wide = (self.condition, self.dim * self.size)
            self.told_out = self.param("told_out", zeros, wide)

    def _features(self, x: Array, condition: Array | None) -> Array:
        for layer, ((kernel, bias), mask) in enumerate(zip(self.weights, self.masks)):
            x = x @ (kernel * mask) + bias
            if condition is not None and layer == 0:
                x = x + condition @ self.told
            x = nn.silu(x)
        return x

    def _shift(self, condition: Array | None) -> Array:
        """The outputs' bias [D, P], or [B, D, P] with what the condition adds."""
        if condition is None:
            return self.bias
        return (condition @ self.told_out).reshape(-1, self.dim, self.size) + self.bias

    def __call__(
        self, x: Float[Array, "B D"], condition: Float[Array, "B E"] | None = None
    ) -> Float[Array, "B D P"]:
        """Every coordinate's outputs."""
        # Units of degree k see blocks 1 .. k and serve the blocks after them.
        own = np.arange(self.dim)[:, None] // self.block + 1
        kernel = self.kernel * (self.degrees < own)[:, :, None]
        out = self._features(x, condition) @ kernel.transpose(1, 0, 2).reshape(self.hidden[-1], -1)
        return out.reshape(x.shape[0], self.dim, self.size) + self._shift(condition)

    def one_block(
        self,
        x: Float[Array, "B D"],
        index: Int[Array, ""],
        condition: Float[Array, "B E"] | None = None,
    ) -> Float[Array, "B block P"]:
        """The outputs of block `index` alone (it may be traced), at the cost of one."""
        start = index * self.block
        kernel = jax.lax.dynamic_slice_in_dim(self.kernel, start, self.block)
        kernel = kernel * (jnp.asarray(self.degrees) <= index)[:, None]
        shift = jax.lax.dynamic_slice_in_dim(self._shift(condition), start, self.block, -2)
        return jnp.einsum("bh,khp->bkp", self._features(x, condition), kernel) + shift
