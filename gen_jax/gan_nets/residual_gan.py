"""Residual blocks and attention of SAGAN and BigGAN (zhang2019, brock2019)."""

import jax
from flax import linen as nn

from gen_jax.gan_nets.convolution import Conv
from gen_jax.gan_nets.dcgan import batch_norm
from gen_jax.gan_nets.resampling import double, halve
from gen_jax.gan_nets.spectral import normalised
from gen_jax.types import Array, Float

INIT = nn.initializers.glorot_uniform()


def convolve(x: Array, width: int, size: int, bounded: bool, train: bool, name: str) -> Array:
    """A size x size convolution with spectral norm 1 if `bounded`."""
    layer = Conv(width, (size, size), kernel_init=INIT, name=name)
    return normalised(layer, bounded)(x, train)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose scale and shift are linear in a condition (devries2017).

    With one-hot rows that is a scale and a shift per class. Without a condition: per channel.
    """

    bounded: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], condition: Float[Array, "B E"] | None, train: bool = False
    ) -> Float[Array, "B H W C"]:
        plain = condition is None
        x = batch_norm(train, use_scale=plain, use_bias=plain, name="norm")(x)
        if condition is None:
            return x
        linear = lambda name: normalised(
            nn.Dense(x.shape[-1], use_bias=False, name=name), self.bounded
        )(condition, train)
        return x * (1 + linear("scale"))[:, None, None] + linear("shift")[:, None, None]


class ImageAttention(nn.Module):
    """x + gain V softmax(K Q) over all pixels; gain starts at 0 (zhang2019, eq. 3).

    Queries and keys have an eighth of the channels, values half; keys and values are seen at half
    the resolution, through means.
    """

    bounded: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], train: bool = False) -> Float[Array, "B H W C"]:
        b, h, w, c = x.shape
        near = halve(x) if h % 2 == 0 and w % 2 == 0 else x
        make = lambda x, width, name: convolve(x, width, 1, self.bounded, train, name)
        flat = lambda x: x.reshape(b, -1, x.shape[-1])
        query = flat(make(x, max(c // 8, 1), "query"))
        key = flat(make(near, max(c // 8, 1), "key"))
        value = flat(make(near, max(c // 2, 1), "value"))
        share = jax.nn.softmax(query @ key.transpose(0, 2, 1), axis=-1)
        seen = make((share @ value).reshape(b, h, w, -1), c, "out")
        return x + self.param("gain", nn.initializers.zeros, ()) * seen


class GeneratorBlock(nn.Module):
    """norm, relu, doubling, 3x3, norm, relu, 3x3; beside it a doubling and a 1x1."""

    width: int
    bounded: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], condition: Float[Array, "B E"] | None, train: bool = False
    ) -> Float[Array, "B H2 W2 D"]:
        make = lambda x, size, name: convolve(x, self.width, size, self.bounded, train, name)
        norm = lambda x, name: nn.relu(
            ConditionalBatchNorm(self.bounded, name=name)(x, condition, train)
        )
        h = make(double(norm(x, "norm_in")), 3, "conv_in")
        return make(norm(h, "norm_out"), 3, "conv_out") + double(make(x, 1, "skip"))


class CriticBlock(nn.Module):
    """relu (not in the first block), 3x3, relu, 3x3, halving; beside it a 1x1 and a halving."""

    width: int
    first: bool = False
    shrink: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], train: bool = False) -> Float[Array, "B h w D"]:
        make = lambda x, size, name: convolve(x, self.width, size, True, train, name)
        smaller = halve if self.shrink else lambda x: x
        h = make(x if self.first else nn.relu(x), 3, "conv_in")
        return smaller(make(nn.relu(h), 3, "conv_out") + make(x, 1, "skip"))
