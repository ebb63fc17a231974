"""Denoising score matching (vincent2011) at one noise level: diffusion's loss on a path of one."""

import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.checks import same_shape
from gen_jax.diffusion import denoising_loss
from gen_jax.energy.implicit import Score
from gen_jax.errors import check_range
from gen_jax.paths import GaussianPath
from gen_jax.randomness import normal, sample_keys
from gen_jax.types import Array, Float, Key


def constant_noise(noise: float) -> GaussianPath:
    """alpha = 1, sigma = noise at every t."""
    return GaussianPath(jnp.ones_like, lambda t: jnp.full_like(t, noise))


@floats(x="...")
def denoising(
    key: Key[Array, "*batch"], score: Score, x: Float[Array, "B ..."], *, noise: float = 0.1
) -> Float[Array, "B"]:
    """1/2 |s(x + noise z) + z / noise|^2, z ~ N(0, I) (vincent2011 eq. 11).

    Its minimiser is the score of the data with that much noise, p_noise = p * N(0, noise^2 I), and
    it exceeds `explicit` for p_noise by D / (2 noise^2) - 1/2 E|grad log p_noise|^2 in the mean.

    Args:
      key: one key, or one per example [B].
      noise: standard deviation, in the units of x.
    Raises ConfigError unless noise > 0.
    """
    check_range("noise", noise, 0, open_low=True)
    z = normal(sample_keys(key, len(x)), x.shape[1:], x.dtype)
    t = jnp.ones(len(x), x.dtype)
    predict = lambda x, t: same_shape("score", score)(x)
    loss, _ = denoising_loss(predict, constant_noise(noise), x, z, t, prediction="score")
    return 0.5 * x[0].size * loss
