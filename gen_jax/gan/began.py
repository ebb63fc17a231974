"""Boundary equilibrium: the critic is an autoencoder, its score the reconstruction error
(berthelot2017).

    critic      L(x) - k L(G(z))
    generator   L(G(z))
    balance     k <- clip(k + rate (diversity L(x) - L(G(z))), 0, 1)

k holds E[L(G(z))] at `diversity` times E[L(x)]. It is carried from step to step and no gradient
passes through it. A k that stays at 0 says that the generator is never good enough to be worth the
critic's attention: a learning rate or the scale of the errors is wrong.
"""

import jax
import jax.numpy as jnp

from gen_jax.gan.losses import GanLoss
from gen_jax.types import Array, Float


def began(balance: Float[Array, ""]) -> GanLoss:
    """An autoencoder's errors in balance (berthelot2017): the two losses at the present k."""
    k = jax.lax.stop_gradient(balance)
    return GanLoss(lambda real, fake: real - k * fake, lambda real, fake: fake)


def next_balance(
    balance: Float[Array, ""],
    real: Float[Array, "*B"],
    fake: Float[Array, "*B"],
    diversity: float = 0.5,
    rate: float = 1e-3,
) -> Float[Array, ""]:
    """k of the next step, in [0, 1]."""
    moved = balance + rate * (diversity * jnp.mean(real) - jnp.mean(fake))
    return jax.lax.stop_gradient(jnp.clip(moved, 0.0, 1.0))


def convergence(
    real: Float[Array, "*B"], fake: Float[Array, "*B"], diversity: float = 0.5
) -> Float[Array, ""]:
    """L(x) + |diversity L(x) - L(G(z))|, which falls in a good run (berthelot2017 eq. 8)."""
    return jnp.mean(real) + jnp.abs(diversity * jnp.mean(real) - jnp.mean(fake))
