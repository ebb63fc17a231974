"""Networks that are told a sentence instead of a label (reed2016)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.gan_nets.conditioning import check_wrapped
from gen_jax.types import Array, Float, Int


class Caption(NamedTuple):
    """Tokens, 0 behind the end; or a mean of two sentences, between them.

    Fields:
      other, weight: the embedding is weight * tokens + (1 - weight) * other.
    """

    tokens: Int[Array, "B T"]
    other: Int[Array, "B T"] | None = None
    weight: Any = 1.0


class SentenceEncoder(nn.Module):
    """A gated recurrent unit over the words; its last state at the end of the sentence."""

    vocabulary: int
    width: int = 32

    def __post_init__(self):
        check_range("vocabulary", self.vocabulary, 2, integer=True)
        check_range("width", self.width, 1, integer=True)
        super().__post_init__()

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B W"]:
        """NaN for tokens outside the vocabulary."""
        table = nn.Embed(self.vocabulary, self.width, embedding_init=nn.initializers.normal(1.0))
        known = (tokens >= 0) & (tokens < self.vocabulary)
        words = jnp.where(known[..., None], table(jnp.where(known, tokens, 0)), jnp.nan)
        length = jnp.sum(tokens != 0, axis=1)
        return nn.RNN(nn.GRUCell(self.width), return_carry=True)(words, seq_lengths=length)[0]


class Captioned(nn.Module):
    """A generator or critic whose label is the embedding of a `Caption`.

    Fields:
      network: with num_classes = the encoder's width; of a critic conditional="projection" makes
        the score a match of image and sentence.
    Raises ConfigError for a network whose call is not (x, label, *, train).
    """

    network: nn.Module
    encoder: SentenceEncoder

    def __post_init__(self):
        check_wrapped("Captioned", self.network)
        super().__post_init__()

    def __call__(self, x: Float[Array, "B ..."], caption: Caption, *, train: bool = False) -> Any:
        """What the network says of x (or of z) under the sentence."""
        embedding = self.encoder(caption.tokens)
        if caption.other is not None:
            weight = jnp.asarray(caption.weight)
            weight = jnp.broadcast_to(weight, embedding.shape[:1])[:, None]
            embedding = weight * embedding + (1 - weight) * self.encoder(caption.other)
        network: Any = self.network
        return network(x, embedding, train=train)
