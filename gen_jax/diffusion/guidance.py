"""Guidance: functions from denoisers to a denoiser.

Weights: w = 1 is the plain conditional model (papers with 1 + w differ by one). Since the weights
of the two denoisers sum to one, guidance is the same in every parameterisation.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.calls import calls_inside, network_call
from gen_jax.errors import check_range
from gen_jax.paths import GaussianPath, expand, time_of_log_snr
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
    The guide is not called where no example of the batch needs it: outside the interval, and at a
    weight of 1.
    """
    low, high = interval
    check_range("interval[0]", low, 0, 1)
    check_range("interval[1]", high, low, 1)
    denoise, guide = network_call(denoise), network_call(guide)

    def guided(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> Float[Array, "B ..."]:
        plain = denoise(x, t)
        w = expand(jnp.where((t >= low) & (t <= high), weight, 1.0), x)

        def pulled():
            moved = w * plain + (1 - w) * guide(x, t)
            return jnp.where(w == 1, plain, moved).astype(plain.dtype)

        return jax.lax.cond(jnp.any(w != 1), pulled, lambda: plain)

    return calls_inside(guided)


classifier_free = extrapolate
autoguidance = extrapolate


def likelihood_shift(
    score: Callable[[Array, Array], Array],
    path: GaussianPath,
    x: Float[Array, "B ..."],
    t: Float[Array, "B"],
) -> Float[Array, "B ..."]:
    """E[x0 | x_t, y] - E[x0 | x_t] = (sigma^2 / alpha) grad_x log p(y | x_t), up to pure noise.

    On a path with alpha(1) = 0 the gradient vanishes there like alpha, and their ratio has a limit.
    It is taken at the last time with alpha / sigma >= sqrt(machine epsilon), at the same
    x / sqrt(alpha^2 + sigma^2): what is left out and the gradient's rounding are then of one size.

    Args:
      score: `(x_t [B, ...], t [B]) -> grad_x log p(y | x_t)` [B, ...].
    """
    ends = path.alpha(jnp.array([0.0, 1.0]))
    least = jnp.sqrt(jnp.finfo(x.dtype).eps)
    forgets = ends[1] < least * ends[0]
    last = time_of_log_snr(path, jnp.where(forgets, 2 * jnp.log(least), -jnp.inf))
    near = jnp.minimum(t, last)
    alpha, sigma = path.alpha(near), path.sigma(near)
    scale = jnp.hypot(alpha, sigma) / jnp.hypot(path.alpha(t), path.sigma(t))
    moved = (expand(scale, x) * x).astype(x.dtype)
    return expand(sigma**2 / alpha, x) * score(moved, near)


def classifier(
    denoise: Denoiser,
    log_likelihood: Callable[[Array, Array], Float[Array, "B"]],
    path: GaussianPath,
    weight: float | Array = 1.0,
) -> Denoiser:
    """Classifier guidance (dhariwal2021, algorithm 2): D + w (sigma^2 / alpha) grad_x log p(y | x).

    Args:
      log_likelihood: `(x_t [B, ...], t [B]) -> log p(y | x_t)` [B], trained on noisy data. Its own
        network is not among the calls that `sample` counts.
    """
    denoise = network_call(denoise)
    score = jax.grad(lambda x, t: jnp.sum(log_likelihood(x, t)))

    def guided(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> Float[Array, "B ..."]:
        shift = expand(jnp.asarray(weight, float), x) * likelihood_shift(score, path, x, t)
        return denoise(x, t) + shift

    return calls_inside(guided)
