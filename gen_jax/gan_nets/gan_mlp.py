"""Multi-layer perceptrons as generator and critic: for points, and for small images as vectors."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_choice, check_range, check_widths
from gen_jax.gan_nets.conditioning import condition_vector, join
from gen_jax.gan_nets.critic_head import CriticHead
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.gan_nets.minibatch import MINIBATCH
from gen_jax.gan_nets.spectral import normalised
from gen_jax.types import Array, Float


class MLPGenerator(nn.Module):
    """relu layers of the given widths; the label beside z.

    Fields:
      shape: of one example.
      bounded: tanh at the end, for images in [-1, 1].
    """

    shape: tuple[int, ...]
    features: tuple[int, ...] = (128, 128, 128)
    num_classes: int = 0
    bounded: bool = False

    def __post_init__(self):
        check_widths("features", self.features)
        check_range("num_classes", self.num_classes, 0, integer=True)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, z: Float[Array, "B L"], condition: Any = None, *, train: bool = False
    ) -> Float[Array, "B ..."]:
        """[B, *shape]."""
        h = join(z, condition_vector(condition, self.num_classes, len(z)))
        for width in self.features:
            h = nn.relu(nn.Dense(width)(h))
        x = nn.Dense(math.prod(self.shape), name="out")(h).reshape(len(z), *self.shape)
        return jnp.tanh(x) if self.bounded else x


class MLPCritic(nn.Module):
    """Leaky relu layers (slope 0.2) of the given widths, and a `CriticHead`.

    Fields:
      conditional, num_classes, codes: of the head; with "concat" the label stands beside x.
      dropout: rate after every layer, in training only (collection of keys "dropout").
      spectral: every layer `normalised`; leaky relu keeps the whole 1-Lipschitz.
      minibatch: "none", or before the last layer "deviation" or "discrimination" (see `minibatch`).
    """

    features: tuple[int, ...] = (128, 128, 128)
    conditional: str = "none"
    num_classes: int = 0
    codes: int = 0
    dropout: float = 0.0
    spectral: bool = False
    minibatch: str = "none"

    def __post_init__(self):
        check_widths("features", self.features)
        check_range("dropout", self.dropout, 0, 1)
        check_choice("minibatch", self.minibatch, MINIBATCH)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], condition: Any = None, *, train: bool = False
    ) -> CriticOutput:
        """Scores [B], the last hidden layer, and logits or a code if there are any."""
        h = x.reshape(len(x), -1)
        if self.conditional == "concat":
            h = join(h, condition_vector(condition, self.num_classes, len(x)))
        for width in self.features:
            h = jax.nn.leaky_relu(normalised(nn.Dense(width), self.spectral)(h, train), 0.2)
            h = nn.Dropout(self.dropout)(h, deterministic=not train)
        h = MINIBATCH[self.minibatch](h)
        head = CriticHead(self.conditional, self.num_classes, self.codes, self.spectral)
        return head(h, condition, train=train)
