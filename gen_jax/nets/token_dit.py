"""Diffusion transformer over patches of an image of tokens (peebles2023, sahoo2024)."""

from math import prod
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range, check_shape
from gen_jax.nets.blocks import over_tokens, rotary
from gen_jax.nets.dit import DiT, check_dit_sizes
from gen_jax.nets.embeddings import vectors_of_values
from gen_jax.types import Array, Float, Int


class TokenDiT(nn.Module):
    """As `TokenTransformer`, for images: a DiT sees vectors of the values, patch by patch,
    with rotary attention.

    A patch of 4 needs a sixteenth of the places of a transformer over the values themselves.

    Fields:
      vocabulary: values of a token, those of the noise (a mask) among them.
      shape: [H, W, C] of the images whose values, row by row, are the tokens.
      channels: length of a value's vector.
    A token out of range gives NaN.
    """

    vocabulary: int
    shape: tuple[int, ...]
    patch: int = 4
    width: int = 64
    depth: int = 2
    heads: int = 2
    channels: int = 8
    num_classes: int = 0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    condition: Any = None

    def __post_init__(self):
        for name in ("vocabulary", "channels"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_dit_sizes(self)
        check_range("dropout", self.dropout, 0, 1)
        check_shape("shape", self.shape)
        if len(self.shape) != 3:
            raise ConfigError(f"shape={self.shape} must be that of an image, (H, W, C)")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Int[Array, "B N"],
        noise: Float[Array, "*batch"],
        condition: Any = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B N V"]:
        """Raises ConfigError for another number of tokens."""
        rows, columns, values = self.shape
        vectors = vectors_of_values(self, "value", x, self.channels, "shape", prod(self.shape))
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        image = vectors.reshape(len(x), rows, columns, values * self.channels)
        transformer = DiT(
            self.patch,
            self.width,
            self.depth,
            self.heads,
            num_classes=self.num_classes,
            dropout=self.dropout,
            condition=self.condition,
            attend=rotary,
            **types,
        )
        h = transformer(image, noise, condition, deterministic=deterministic)
        out = nn.Dense(self.vocabulary, name="out", **types)
        return over_tokens(out, h.reshape(len(x), x.shape[1], -1)).astype(jnp.float32)
