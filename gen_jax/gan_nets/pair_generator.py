"""A generator of two views of one content."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range
from gen_jax.gan_nets.conditioning import check_wrapped
from gen_jax.types import Array, Float


class PairGenerator(nn.Module):
    """z = (content, view, view') -> two images of the inner generator, one above the other in the
    channels: G(content, view) and G(content, view').

    Fields:
      network: a generator of single images, of latents (content, view).
      content: dimension of the content.
    """

    network: nn.Module
    content: int

    def __post_init__(self):
        check_range("content", self.content, 1, integer=True)
        check_wrapped("PairGenerator", self.network)
        super().__post_init__()

    def __call__(
        self, z: Float[Array, "B L"], label: Any = None, *, train: bool = False
    ) -> Float[Array, "B H W C2"]:
        """[B, H, W, 2 C]. Raises ConfigError when z does not leave two equal views."""
        rest = z.shape[-1] - self.content
        if rest < 2 or rest % 2:
            raise ConfigError(f"z has {z.shape[-1]} dimensions beside content={self.content}")
        content, *views = jnp.split(z, [self.content, self.content + rest // 2], axis=-1)
        each = jnp.concatenate([jnp.concatenate([content, view], -1) for view in views])
        labels = None if label is None else jnp.concatenate([label, label])
        network: Any = self.network
        first, second = jnp.split(network(each, labels, train=train), 2)
        return jnp.concatenate([first, second], -1)
