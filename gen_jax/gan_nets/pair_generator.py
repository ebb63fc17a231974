"""A generator of two views of one content."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range
from gen_jax.gan_nets.critic_output import shown_by
from gen_jax.randomness import fold_in
from gen_jax.types import Array, Float, Key


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
        super().__post_init__()

    @property
    def takes(self) -> tuple[str, ...]:
        """As of the network inside."""
        return getattr(self.network, "takes", ())

    def shown(self, x: Float[Array, "B H W C2"], step: Any) -> Float[Array, "B H W C2"]:
        """As of the network inside, for both images."""
        return jnp.concatenate([shown_by(self.network, u, step) for u in jnp.split(x, 2, -1)], -1)

    def __call__(
        self,
        z: Float[Array, "B L"],
        condition: Any = None,
        *,
        train: bool = False,
        keys: Key[Array, "B"] | None = None,
        **more: Any,
    ) -> Float[Array, "B H W C2"]:
        """[B, H, W, 2 C]; `keys` give each image noise of its own.

        Raises ConfigError when z does not leave two equal views.
        """
        rest = z.shape[-1] - self.content
        if rest < 2 or rest % 2:
            raise ConfigError(f"z has {z.shape[-1]} dimensions beside content={self.content}")
        content, *views = jnp.split(z, [self.content, self.content + rest // 2], axis=-1)
        each = jnp.concatenate([jnp.concatenate([content, view], -1) for view in views])
        both = jax.tree.map(lambda value: jnp.concatenate([value, value]), condition)
        if keys is not None:
            more["keys"] = jnp.concatenate([fold_in(keys, 0), fold_in(keys, 1)])
        network: Any = self.network
        first, second = jnp.split(network(each, both, train=train, **more), 2)
        return jnp.concatenate([first, second], -1)
