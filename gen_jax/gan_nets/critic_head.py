"""The last layers of a critic of images, with every way in which a condition may enter."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.gan_nets.conditioning import condition_vector
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.gan_nets.minibatch import MINIBATCH
from gen_jax.gan_nets.spectral import normalised
from gen_jax.types import Array, Float

CONDITIONS = ("none", "concat", "projection", "ac", "info")


class CriticHead(nn.Module):
    """Features [B, F] -> CriticOutput.

    With f the features, y the condition's vector, such as a one-hot label:

        none, concat   w f + b                          the condition, if any, enters the body
        projection     w f + b + (V y) f                                 (miyato2018cgans, eq. 3)
        ac             w f + b, and logits of the label                  (odena2017)
        info           w f + b, and `codes` numbers of the code          (chen2016)

    Fields:
      spectral: every layer `normalised`.
      dropout: rate at which features are left out, in training only (collection of keys "dropout").
      minibatch: a name in MINIBATCH, what f sees of the other examples; after the dropout.
    Raises ConfigError for an unknown condition, one without its classes or codes, and a value
    that the head does not read.
    """

    conditional: str = "none"
    num_classes: int = 0
    codes: int = 0
    spectral: bool = False
    dropout: float = 0.0
    minibatch: str = "none"

    def __post_init__(self):
        check_choice("conditional", self.conditional, CONDITIONS)
        check_range("num_classes", self.num_classes, 0, integer=True)
        check_range("codes", self.codes, 0, integer=True)
        check_range("dropout", self.dropout, 0, 1)
        check_choice("minibatch", self.minibatch, MINIBATCH)
        if self.conditional in ("concat", "projection", "ac") and not self.num_classes:
            raise ConfigError(f"conditional={self.conditional!r} needs num_classes")
        if (self.conditional == "info") != bool(self.codes):
            raise ConfigError(f"conditional={self.conditional!r} with codes={self.codes}")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, features: Float[Array, "B F"], condition: Any = None, *, train: bool = False
    ) -> CriticOutput:
        """Scores, features, and logits or code when there are any."""
        if condition is not None and self.conditional not in ("concat", "projection"):
            raise ConfigError(
                f"a critic with conditional={self.conditional!r} does not read labels"
            )
        features = nn.Dropout(self.dropout)(features, deterministic=not train)
        features = MINIBATCH[self.minibatch](features)
        bounded = lambda layer, x: normalised(layer, self.spectral)(x, train)
        linear = lambda size, name: bounded(nn.Dense(size, name=name), features)
        score = linear(1, "score")[:, 0]
        logits = linear(self.num_classes, "logits") if self.conditional == "ac" else None
        code = linear(self.codes, "code") if self.conditional == "info" else None
        if self.conditional == "projection":
            y = condition_vector(condition, self.num_classes, len(features))
            layer = nn.Dense(features.shape[-1], use_bias=False, name="projection")
            score = score + jnp.sum(bounded(layer, y) * features, -1)
        return CriticOutput(score, features, logits, code)
