"""Layers whose weights are scaled where they are used (karras2018, sec. 4.1)."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.gan_nets.convolution import convolution
from gen_jax.types import Array, Float


class Equalized(nn.Module):
    """A dense layer, or a convolution with `kernel`, of weights N(0, 1) times gain / sqrt(fan in).

    Every weight then moves at the same relative speed under Adam. `rate` multiplies the learning
    rate of the layer and leaves its function at the start alone.
    """

    features: int
    kernel: tuple[int, ...] = ()
    gain: float = math.sqrt(2)
    rate: float = 1.0
    bias: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "B *S D"]) -> Float[Array, "B *S F"]:
        """x W + b, or the convolution with zeros outside."""
        shape = (*self.kernel, x.shape[-1], self.features)
        init = nn.initializers.normal(1 / self.rate)
        weight = self.param("kernel", init, shape) * self.rate * self.gain
        weight = weight / math.sqrt(math.prod(shape[:-1]))
        bias = self.param("bias", nn.initializers.constant(self.bias / self.rate), shape[-1:])
        if not self.kernel:
            return x @ weight + self.rate * bias
        numbers = ("NHWC", "HWIO", "NHWC")
        y = convolution(x, weight, (1, 1), "SAME", dimension_numbers=numbers)
        return y + self.rate * bias


def leaky(x: Array) -> Array:
    """Leaky ReLU with the slope 0.2 that the networks of GANs share."""
    return nn.leaky_relu(x, 0.2)


def pixel_norm(x: Float[Array, "B *S D"]) -> Float[Array, "B *S D"]:
    """Each vector over its root mean square (karras2018, sec. 4.2)."""
    return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-8)
