"""Networks that give each example one number (an energy) or K (the logits of a classifier)."""

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.nets.blocks import check_image
from gen_jax.types import Array, Float


class Bounded(nn.Module):
    """A linear layer whose matrix has the spectral norm `bound` (miyato2018); 0 is no bound.

    One power iteration per call; its vector is in the collection "batch_stats" and moves on when
    `train` is set, which is meant for once per update.
    """

    features: int
    bound: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"], train: bool = False) -> Float[Array, "*B F"]:
        """x W + b."""
        if not self.bound:
            return nn.Dense(self.features)(x)
        linear = nn.Dense(self.features, use_bias=False)
        y = self.bound * nn.SpectralNorm(linear, n_steps=1)(x, update_stats=train)
        return y + self.param("bias", nn.initializers.zeros, (self.features,))


def patches(x: Float[Array, "B H W C"]) -> Float[Array, "B h w P"]:
    """The 3x3 neighbourhoods of every other pixel, P = 9 C, h = ceil(H / 2); zeros outside.

    Slices instead of a convolution: XLA's gradient of a convolution is slow in a loop on a CPU, and
    chains are such loops.
    """
    h, w = -(-x.shape[1] // 2), -(-x.shape[2] // 2)
    padded = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
    cut = lambda i, j: padded[:, i : i + 2 * h : 2, j : j + 2 * w : 2]
    return jnp.concatenate([cut(i, j) for i in range(3) for j in range(3)], -1)


class EnergyNet(nn.Module):
    """For images a strided 3x3 convolution per entry of `channels`; then silu layers `features`.

    All smooth, for losses with second derivatives, and without normalisation over examples.

    Fields:
      outputs: 0 for one number per example, [B]; otherwise K numbers, [B, K].
      spectral: largest stretch of each layer (0: any), see `Bounded`.
    """

    features: tuple[int, ...] = (128, 128, 128)
    channels: tuple[int, ...] = ()
    outputs: int = 0
    spectral: float = 0.0

    def __post_init__(self):
        for name in ("features", "channels"):
            for width in getattr(self, name):
                check_range(name, width, 1, integer=True)
        check_range("outputs", self.outputs, 0, integer=True)
        check_range("spectral", self.spectral, 0)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B ..."], train: bool = False) -> Float[Array, "B *K"]:
        """[B] or [B, K]; `train` moves the power iterations on."""
        if self.channels:
            check_image(x)
        for width in self.channels:
            x = nn.silu(Bounded(width, self.spectral)(patches(x), train))
        x = x.reshape(len(x), -1)
        for width in self.features:
            x = nn.silu(Bounded(width, self.spectral)(x, train))
        out = Bounded(max(self.outputs, 1), self.spectral)(x, train)
        return out if self.outputs else out[:, 0]
