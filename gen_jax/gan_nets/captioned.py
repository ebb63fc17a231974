"""Networks whose condition is a sentence instead of a label (reed2016)."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from gen_jax.conditions import Captions
from gen_jax.errors import ConfigError, check_range, shown
from gen_jax.gan_nets.conditioning import mixed_vectors
from gen_jax.gan_nets.critic_output import shown_by
from gen_jax.types import Array, Float, Int


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
    """A generator or critic whose condition is the embedding of a sentence's tokens [B, T].

    Of a `Mixed` it is the mean of two sentences' embeddings.

    Fields:
      network: with num_classes = the encoder's width, which is set where the network has none; of a
        critic conditional="projection" makes the score a match of image and sentence.
      condition: `conditions.captions(...)`, set by the model.
    Raises ConfigError for another condition, and for one of more words than the encoder has.
    """

    network: nn.Module
    encoder: SentenceEncoder
    condition: Captions | None = None

    def __post_init__(self):
        if not isinstance(self.encoder, SentenceEncoder):
            raise ConfigError(f"encoder={shown(self.encoder)} must be a SentenceEncoder")
        words = self.encoder.vocabulary
        if self.condition is not None and not isinstance(self.condition, Captions):
            raise ConfigError(
                f"condition={self.condition.name!r} must be captions: the network is Captioned"
            )
        if self.condition is not None and self.condition.vocabulary > words:
            raise ConfigError(
                f"captions of vocabulary={self.condition.vocabulary}, but the SentenceEncoder has "
                f"vocabulary={words}"
            )
        if getattr(self.network, "num_classes", None) == 0:
            self.network = self.network.clone(num_classes=self.encoder.width)
        super().__post_init__()

    @property
    def takes(self) -> tuple[str, ...]:
        """As of the network inside."""
        return getattr(self.network, "takes", ())

    def shown(self, x: Float[Array, "B ..."], step: Any) -> Float[Array, "B ..."]:
        """As of the network inside."""
        return shown_by(self.network, x, step)

    def __call__(
        self, x: Float[Array, "B ..."], condition: Any, *, train: bool = False, **more: Any
    ) -> Any:
        """What the network says of x (or of z) under the sentence."""
        embedding = mixed_vectors(self.embedded, condition)
        network: Any = self.network
        return network(x, embedding, train=train, **more)

    def embedded(self, tokens: Any) -> Float[Array, "B W"]:
        """Embeddings of sentences. Raises ConfigError for what are no tokens."""
        if np.ndim(tokens) != 2:
            raise ConfigError(f"tokens have shape {np.shape(tokens)}, must be [B, T]")
        encoder: Any = self.encoder
        return encoder(tokens)
