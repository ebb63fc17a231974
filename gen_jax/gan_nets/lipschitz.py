"""A critic that is 1-Lipschitz by construction: orthonormal layers and sorting (anil2019).

Its slope can be 1 everywhere, which relu networks of bounded norms lose at every kink: so it needs
no penalty to reach a Wasserstein distance.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax import safe
from gen_jax.errors import ConfigError, check_range, check_widths
from gen_jax.gan_nets.conditioning import condition_vector, join
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.types import Array, Float


def orthonormalised(matrix: Float[Array, "I O"], iterations: int = 15) -> Float[Array, "I O"]:
    """The nearest matrix with orthonormal rows or columns, the shorter side (bjorck1971).

    Divided at first by sqrt(|W|_1 |W|_inf), at least its spectral norm, for then W <- 3/2 W - 1/2
    W W^T W converges, and no singular value passes 1 on the way.
    """
    size = jnp.abs(matrix)
    bound = safe.sqrt(jnp.max(size.sum(0)) * jnp.max(size.sum(1)))
    improve = lambda w, _: (1.5 * w - 0.5 * w @ (w.T @ w), None)
    return jax.lax.scan(improve, matrix / jnp.maximum(bound, 1e-12), None, iterations)[0]


def group_sort(x: Float[Array, "B D"], size: int = 2) -> Float[Array, "B D"]:
    """Neighbours sorted in groups of so many: a permutation, so distances and slopes are kept."""
    if x.shape[-1] % size:
        raise ConfigError(f"width {x.shape[-1]} is not divisible by groups of {size}")
    groups = x.reshape(*x.shape[:-1], -1, size)
    if size == 2:
        first, second = groups[..., 0], groups[..., 1]
        sorted_ = first <= second  # minimum and maximum of equals share their slopes out
        pair = jnp.where(sorted_, first, second), jnp.where(sorted_, second, first)
        return jnp.stack(pair, -1).reshape(x.shape)
    return jnp.sort(groups, -1).reshape(x.shape)


class Orthonormal(nn.Module):
    """x W + b with `orthonormalised` W."""

    features: int
    iterations: int = 15

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B F"]:
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.orthogonal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return x @ orthonormalised(kernel, self.iterations) + bias


class LipschitzCritic(nn.Module):
    """Orthonormal layers of the given widths with sorted groups between them; the label beside x.

    Fields:
      group: neighbours sorted together; must divide every width.
    """

    features: tuple[int, ...] = (128, 128, 128)
    num_classes: int = 0
    group: int = 2
    iterations: int = 15

    def __post_init__(self):
        check_widths("features", self.features)
        check_range("num_classes", self.num_classes, 0, integer=True)
        check_range("group", self.group, 2, integer=True)
        check_range("iterations", self.iterations, 1, integer=True)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], condition: Any = None, *, train: bool = False
    ) -> CriticOutput:
        """Scores [B] and the last hidden layer."""
        h = join(x.reshape(len(x), -1), condition_vector(condition, self.num_classes, len(x)))
        for width in self.features:
            h = group_sort(Orthonormal(width, self.iterations)(h), self.group)
        return CriticOutput(Orthonormal(1, self.iterations, name="out")(h)[:, 0], h)
