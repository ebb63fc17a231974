"""Masked autoencoder (germain2015): outputs for a block depend on the blocks before it only."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range, check_widths
from gen_jax.types import Array, Float, Int


def spread(width: int, most: int) -> np.ndarray:
    """Degrees of hidden units: 1 .. most in turn, or spaced evenly over them if there are fewer."""
    if width >= most:
        return np.arange(width) % most + 1
    return np.arange(width) * most // width + 1


class MADE(nn.Module):
    """`size` outputs for each of D coordinates, from the coordinates of the blocks before its own.

    Block k holds coordinates k block .. (k + 1) block - 1. Hidden units have degrees from 1 to
    D / block - 1. All outputs are zero before training. With `direct`, outputs are also linear in
    the inputs of all earlier blocks. A condition [B, condition_size] shifts the first hidden
    layer and the outputs. The ordering is the natural one unless a call gives another.
    """

    dim: int
    size: int
    hidden: tuple[int, ...] = (64, 64)
    block: int = 1
    condition_size: int = 0
    direct: bool = False

    def setup(self):
        check_range("block", self.block, 1, self.dim, integer=True)
        if self.dim % self.block:
            raise ConfigError(f"block={self.block} must divide the dimension {self.dim}")
        check_widths("hidden", self.hidden)
        most, degrees, weights = max(self.dim // self.block - 1, 1), [], []
        for layer, width in enumerate(self.hidden):
            degrees.append(spread(width, most))
            shape = (self.hidden[layer - 1] if layer else self.dim, width)
            weights.append(
                (
                    self.param(f"kernel_{layer}", nn.initializers.lecun_normal(), shape),
                    self.param(f"bias_{layer}", nn.initializers.zeros, (width,)),
                )
            )
        self.weights, self.degrees = weights, degrees
        zeros = nn.initializers.zeros
        self.kernel = self.param("kernel", zeros, (self.dim, self.hidden[-1], self.size))
        self.bias = self.param("bias", zeros, (self.dim, self.size))
        if self.direct:
            self.skip = self.param("skip", zeros, (self.dim, self.dim, self.size))
        if self.condition_size:
            lecun = nn.initializers.lecun_normal()
            self.condition_kernel = self.param(
                "condition_kernel", lecun, (self.condition_size, self.hidden[0])
            )
            wide = (self.condition_size, self.dim * self.size)
            self.condition_out = self.param("condition_out", zeros, wide)

    def _features(self, x: Array, own: Array | np.ndarray, condition: Array | None) -> Array:
        """Hidden units [B, H]; own [D] is the number of each coordinate's block, from 1."""
        shift = 0 if condition is None else condition @ self.condition_kernel
        before = own
        for (kernel, bias), degrees in zip(self.weights, self.degrees):
            mask = degrees >= before[:, None]
            x, before, shift = nn.silu(x @ (kernel * mask) + bias + shift), degrees, 0
        return x

    def _shift(self, condition: Array | None) -> Array:
        """The outputs' bias [D, P], or [B, D, P] with what the condition adds."""
        if condition is None:
            return self.bias
        return (condition @ self.condition_out).reshape(-1, self.dim, self.size) + self.bias

    def __call__(
        self,
        x: Float[Array, "B D"],
        condition: Float[Array, "B E"] | None = None,
        rank: Int[Array, "D"] | None = None,
    ) -> Float[Array, "B D P"]:
        """Every coordinate's outputs; without a condition as with one of zeros.

        Args:
          rank: a permutation, each coordinate's place in the ordering; needs block = 1.
        """
        if rank is not None and self.block > 1:
            raise ConfigError(f"block={self.block} must be 1 for an ordering other than the usual")
        # Units of degree k see blocks 1 .. k and serve the blocks after them.
        own = np.arange(self.dim) // self.block + 1 if rank is None else rank + 1
        kernel = self.kernel * (self.degrees[-1] < own[:, None])[:, :, None]
        features = self._features(x, own, condition)
        out = features @ kernel.transpose(1, 0, 2).reshape(self.hidden[-1], -1)
        if self.direct:
            skip = self.skip * (own[None, :] < own[:, None])[:, :, None]
            out = out + x @ skip.transpose(1, 0, 2).reshape(self.dim, -1)
        return out.reshape(x.shape[0], self.dim, self.size) + self._shift(condition)

    def one_block(
        self,
        x: Float[Array, "B D"],
        index: Int[Array, ""],
        condition: Float[Array, "B E"] | None = None,
    ) -> Float[Array, "B block P"]:
        """The outputs of block `index` alone (it may be traced), at the cost of one."""
        own, start = np.arange(self.dim) // self.block + 1, index * self.block
        cut = lambda a, axis=0: jax.lax.dynamic_slice_in_dim(a, start, self.block, axis)
        kernel = cut(self.kernel) * (jnp.asarray(self.degrees[-1]) <= index)[:, None]
        out = jnp.einsum("bh,khp->bkp", self._features(x, own, condition), kernel)
        if self.direct:
            skip = cut(self.skip) * (jnp.asarray(own) <= index)[:, None]
            out = out + jnp.einsum("bd,kdp->bkp", x, skip)
        return out + cut(self._shift(condition), -2)
