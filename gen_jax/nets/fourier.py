"""Fourier features of the input, which show a network the last bits of it (kingma2021, app. C)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float


class FourierFeatures(nn.Module):
    """A network that sees x beside sin(2^n pi x) and cos(2^n pi x), and returns x's channels.

    Fields:
      network: one of `gen_jax.nets`, with its own `num_classes`; of what it returns the first
        channels are taken.
      exponents: n; the wave n turns once as x moves by 2^(1 - n).
    """

    network: Any
    exponents: tuple[int, ...] = (7, 8)

    def __post_init__(self):
        if not self.exponents or not all(isinstance(n, int) for n in self.exponents):
            raise ConfigError(f"exponents={self.exponents} must be a tuple of integers")
        super().__post_init__()

    @property
    def dropout(self) -> float:
        """That of the network, which training turns on."""
        return getattr(self.network, "dropout", 0)

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], noise: Array, condition: Any = None, **options: Any
    ) -> Float[Array, "B ..."]:
        """[B, ...]; the arguments are those of `gen_jax.nets`."""
        angles = [2.0**n * jnp.pi * x for n in self.exponents]
        waves = [wave(angle) for angle in angles for wave in (jnp.sin, jnp.cos)]
        out = self.network(jnp.concatenate([x, *waves], -1), noise, condition, **options)
        return out[..., : x.shape[-1]]
