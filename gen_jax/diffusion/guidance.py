"""Guidance: functions from denoisers to a denoiser.

Weights: w = 1 is the plain conditional model (papers with 1 + w differ by one). Since the weights
of the two denoisers sum to one, guidance is the same in every parameterisation.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.paths import GaussianPath, expand
from gen_jax.types import Array, Denoiser, Float


def extrapolate(
    denoise: Denoiser,
    guide: Denoiser,
    weight: float | Array,
    interval: tuple[float, float] = (0.0, 1.0),
) -> Denoiser:
    """w D + (1 - w) D_guide for times in `interval`, D outside it.

    Classifier-free guidance (ho2022) when the guide is the unconditional model; autoguidance
    (karras2024) when it is a weaker version of the same model; the interval is kynkaanniemi2024's.
    """
    low, high = interval
    check_range("interval[0]", low, 0, 1)
    check_range("interval[1]", high, low, 1)

    def guided(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> Float[Array, "B ..."]:
        w = expand(jnp.where((t >= low) & (t <= high), weight, 1.0), x)
        return w * denoise(x, t) + (1 - w) * guide(x, t)

    return guided


classifier_free = extrapolate
autoguidance = extrapolate


def classifier(
    denoise: Denoiser,
    log_likelihood: Callable[[Array, Array], Float[Array, "B"]],
    path: GaussianPath,
    weight: float | Array = 1.0,
) -> Denoiser:
    """Classifier guidance (dhariwal2021, algorithm 2): D + w (sigma^2 / alpha) grad_x log p(y | x).

    Args:
      log_likelihood: `(x_t [B, ...], t [B]) -> log p(y | x_t)` [B], trained on noisy data.
    """

    def guided(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> Float[Array, "B ..."]:
        gradient = jax.grad(lambda x: jnp.sum(log_likelihood(x, t)))(x)
        scale = expand(path.sigma(t) ** 2 / path.alpha(t), x)
        return denoise(x, t) + weight * scale * gradient

    return guided
