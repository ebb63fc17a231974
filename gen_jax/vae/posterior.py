"""Approximate posteriors q(z | x) of a batch, and draws from them with their density.

Draws have an axis S of strata: a mixture draws from each component and weighs the parts
(stratified, morningstar2021), so that every draw passes a gradient. The others have S = 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.randomness import fold_in, normal
from gen_jax.types import Array, Float, Key, State
from gen_jax.vae.gaussians import log_normal


class Draw(NamedTuple):
    """z [..., S, B, D], log q(z | x) [..., S, B] in nats, log-shares of the strata [..., S, B]."""

    z: Float[Array, "... D"]
    log_q: Float[Array, "..."]
    log_share: Float[Array, "..."]


class Posterior(NamedTuple):
    """q(z | x) for each example of a batch.

    Fields:
      params: all that it depends on, so that its gradient can be stopped.
      draw: `(params, keys [B]) -> Draw`, differentiable.
      log_prob: `(params, z [B, D]) -> [B]`.
      moments: (mean, log_std) [B, D] of a diagonal Gaussian, or None.
    """

    params: Any
    draw: Callable[[Any, Array], Draw]
    log_prob: Callable[[Any, Array], Array]
    moments: tuple[Array, Array] | None = None


class PosteriorFamily(NamedTuple):
    """What makes posteriors of latents of a dimension.

    Fields:
      size: `dim -> numbers wanted per example`.
      init: `(key, dim) -> params` of its own.
      make: `(params, raw [B, size]) -> Posterior`.
    """

    size: Callable[[int], int]
    init: Callable[[Array, int], State]
    make: Callable[[State, Array], Posterior]


def gaussian_draw(params: tuple[Array, Array], keys: Array) -> tuple[Array, Array]:
    mean, log_std = params
    z = mean + jnp.exp(log_std) * normal(keys, mean.shape[1:], mean.dtype)
    return z, log_normal(z, mean, log_std).sum(-1)


def single(z: Float[Array, "B D"], log_q: Float[Array, "B"]) -> Draw:
    """A draw of one stratum."""
    return Draw(z[None], log_q[None], jnp.zeros_like(log_q)[None])


@shaped()
def diagonal_gaussian(mean: Float[Array, "B D"], log_std: Float[Array, "B D"]) -> Posterior:
    """N(mean, std^2), independent over dimensions (kingma2014)."""
    return Posterior(
        (mean, log_std),
        lambda params, keys: single(*gaussian_draw(params, keys)),
        lambda params, z: log_normal(z, *params).sum(-1),
        (mean, log_std),
    )


def draw(posterior: Posterior, keys: Key[Array, "B"], num_samples: int) -> Draw:
    """num_samples independent draws per example: a Draw with leading axes [K, S, B]."""
    one = lambda i: posterior.draw(posterior.params, fold_in(keys, i))
    return jax.vmap(one)(jnp.arange(num_samples))


def choose_stratum(keys: Key[Array, "B"], drawn: Draw) -> Float[Array, "B D"]:
    """One z per example of a draw [S, B, D], its stratum chosen by the shares."""
    stratum = jax.vmap(jax.random.categorical)(keys, drawn.log_share.T)
    return drawn.z[stratum, jnp.arange(len(keys))]


def posterior_mean(
    posterior: Posterior, keys: Key[Array, "B"], num_samples: int = 64
) -> Float[Array, "B D"]:
    """E[z | x], exact for a diagonal Gaussian, else an average over draws."""
    if posterior.moments is not None:
        return posterior.moments[0]
    sampled = draw(posterior, keys, num_samples)
    return jnp.sum(jnp.exp(sampled.log_share)[..., None] * sampled.z, (0, 1)) / num_samples
