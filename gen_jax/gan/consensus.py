"""Consensus optimisation: both players also shorten the vector field of the game (mescheder2017).

With v = (grad of the critic's loss by the critic, grad of the generator's by the generator) both
descend |v|^2 / 2 as well as their own loss. A game's field may only rotate, and then it has no
rest but where it vanishes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.types import Array, Float

GameLoss = Callable[[Any, Any], Float[Array, ""]]
"""`(critic parameters, generator parameters) -> loss`."""


def field(critic_loss: GameLoss, generator_loss: GameLoss, critic: Any, generator: Any) -> Any:
    """(gradient of the critic's loss, gradient of the generator's loss), each by its own."""
    return jax.grad(critic_loss, 0)(critic, generator), jax.grad(generator_loss, 1)(
        critic, generator
    )


def consensus(
    critic_loss: GameLoss, generator_loss: GameLoss, critic: Any, generator: Any
) -> Float[Array, ""]:
    """|v|^2 / 2: differentiate it by the parameters of either player."""
    parts = field(critic_loss, generator_loss, critic, generator)
    return 0.5 * optax.tree.norm(parts, squared=True)


def consensus_gradients(
    critic_loss: GameLoss, generator_loss: GameLoss, critic: Any, generator: Any
) -> tuple[Any, Any]:
    """Gradients of `consensus` by the critic's and by the generator's parameters."""
    return jax.grad(consensus, (2, 3))(critic_loss, generator_loss, critic, generator)


def add_scaled(gradient: Any, extra: Any, weight: float | Array) -> Any:
    """gradient + weight extra, leaf by leaf."""
    return jax.tree.map(lambda g, e: g + jnp.asarray(weight, g.dtype) * e, gradient, extra)
