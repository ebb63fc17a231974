"""DCGAN: transposed convolutions in the generator, strided ones in the critic (radford2016)."""

from typing import Any

from flax import linen as nn

from gen_jax.errors import check_choice, check_widths
from gen_jax.gan_nets.conditioning import condition_vector, join
from gen_jax.gan_nets.convolution import Conv
from gen_jax.gan_nets.critic_head import CriticHead
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.gan_nets.resampling import base_size
from gen_jax.gan_nets.spectral import normalised
from gen_jax.nets.blocks import check_image
from gen_jax.types import Array, Float

SMALL = nn.initializers.normal(0.02)
NORMS = ("batch", "spectral", "none")


def batch_norm(train: bool, **options) -> nn.Module:
    """Batch normalisation: by the batch in training, by running statistics otherwise.

    The collection is "batch_stats". In training it ties the examples of a batch together.
    """
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, **options)


class DCGANGenerator(nn.Module):
    """A dense layer to the smallest image; per width one doubling, the last one to the pixels.

    Between them batch normalisation and relu, tanh at the end; a label is concatenated to z.
    Raises ConfigError for a shape that cannot be halved len(widths) times.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (128, 64)
    num_classes: int = 0

    def __post_init__(self):
        check_widths("widths", self.widths)
        base_size(tuple(self.shape), len(self.widths))
        super().__post_init__()

    @nn.compact
    def __call__(
        self, z: Float[Array, "B L"], condition: Any = None, *, train: bool = False
    ) -> Float[Array, "B H W C"]:
        """Images in [-1, 1]."""
        h = join(z, condition_vector(condition, self.num_classes, len(z)))
        rows, columns = base_size(tuple(self.shape), len(self.widths))
        h = nn.Dense(rows * columns * self.widths[0], use_bias=False, kernel_init=SMALL)(h)
        h = h.reshape(len(h), rows, columns, self.widths[0])
        for width in (*self.widths[1:], self.shape[-1]):
            h = nn.relu(batch_norm(train)(h))
            h = nn.ConvTranspose(width, (4, 4), strides=(2, 2), kernel_init=SMALL)(h)
        return nn.tanh(h)


class DCGANCritic(nn.Module):
    """Per width one strided 4x4 convolution and a leaky relu; `CriticHead` has the conditions.

    Fields:
      norm: "batch" (all layers but the first; not with gradient penalties, which it would tie
        together), "spectral" (every layer, also the head) or "none".
      dropout, minibatch: of the head.
    """

    widths: tuple[int, ...] = (64, 128)
    conditional: str = "none"
    num_classes: int = 0
    codes: int = 0
    norm: str = "batch"
    dropout: float = 0.0
    minibatch: str = "none"

    def __post_init__(self):
        check_widths("widths", self.widths)
        check_choice("norm", self.norm, NORMS)
        super().__post_init__()

    @property
    def spectral(self) -> bool:
        """Whether every layer has spectral norm 1."""
        return self.norm == "spectral"

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], condition: Any = None, *, train: bool = False
    ) -> CriticOutput:
        check_image(x)
        if self.conditional == "concat":
            x = join(x, condition_vector(condition, self.num_classes, len(x)))
        bounded = self.spectral
        for level, width in enumerate(self.widths):
            init = nn.initializers.lecun_normal() if bounded else SMALL
            x = normalised(Conv(width, (4, 4), 2, kernel_init=init), bounded)(x, train)
            if self.norm == "batch" and level:
                x = batch_norm(train)(x)
            x = nn.leaky_relu(x, 0.2)
        kind = self.conditional, self.num_classes, self.codes
        head = CriticHead(*kind, bounded, self.dropout, self.minibatch)
        return head(x.reshape(len(x), -1), condition, train=train)
