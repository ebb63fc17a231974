"""Bidirectional transformer over tokens with adaLN-zero conditioning (peebles2023, sahoo2024)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.nets.blocks import check_heads, over_tokens, rotary
from gen_jax.nets.cross_attention import words_of
from gen_jax.nets.dit import Block, layer_norm, modulate
from gen_jax.nets.embeddings import vectors_of_values
from gen_jax.nets.seen import modulation_of
from gen_jax.types import Array, Float, Int


class TokenTransformer(nn.Module):
    """Logits of every token's value from all tokens and the noise level; zero before training.

    Attention is rotary and each place has a learned vector, since of a whole of masks the distances
    alone say nothing (su2021). With the vectors alone masked text stays long at the frequencies of
    single tokens.

    Fields:
      vocabulary: values of a token, those of the noise (a mask) among them.
      length: N, the number of tokens.
    A token out of range gives NaN.
    """

    vocabulary: int
    length: int
    width: int = 64
    depth: int = 2
    heads: int = 2
    num_classes: int = 0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    condition: Any = None

    def __post_init__(self):
        for name in ("vocabulary", "length", "depth"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_heads(self.width, self.heads, low=2)
        check_range("dropout", self.dropout, 0, 1)
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
        values = vectors_of_values(self, "tokens", x, self.width, "length", self.length)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        width = 2 * (self.width // 2)
        modulation, beside = modulation_of(self, width, noise, x, condition, None)
        init = nn.initializers.normal(1.0)
        places = self.param("place", init, (self.length, self.width), self.param_dtype)
        h = (values + places).astype(self.dtype)
        words = words_of(beside, self.width, self.param_dtype)
        for _ in range(self.depth):
            block = Block(self.heads, dropout=self.dropout, attend=rotary, **types)
            h = block(h, modulation, deterministic, words)
        zeros = nn.initializers.zeros
        two = nn.Dense(2 * self.width, kernel_init=zeros, name="modulation", **types)(modulation)
        h = modulate(layer_norm(h), *jnp.split(two, 2, axis=-1))
        out = nn.Dense(self.vocabulary, kernel_init=zeros, name="out", **types)
        return over_tokens(out, h).astype(jnp.float32)
