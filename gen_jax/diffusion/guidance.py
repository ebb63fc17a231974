"""Guidance: functions from denoisers to a denoiser.

Weights: w = 1 is the plain conditional model (papers with 1 + w differ by one). Since the weights
of the two denoisers sum to one, guidance is the same in every parameterisation.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.axes import expand
from gen_jax.calls import calls_inside, network_call
from gen_jax.checks import no_type_check, one_or_each, per_point, same_shape
from gen_jax.errors import ConfigError, check_finite, check_range, shown
from gen_jax.paths import GaussianPath, with_signal
from gen_jax.types import Array, Denoiser, Float


def _checked_weight(weight: Any) -> Any:
    """The weight. Raises ConfigError unless it is finite, where it is known."""
    if check_finite("weight", weight) is None:
        raise ConfigError("weight=None must be a number, or one for each example")
    return weight


@no_type_check
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
    if not isinstance(interval, tuple | list) or len(interval) != 2:
        raise ConfigError(f"interval={shown(interval)} must be two times in [0, 1], low and high")
    low, high = interval
    check_range("interval[0]", low, 0, 1)
    check_range("interval[1]", high, low, 1)
    weight = _checked_weight(weight)
    denoise = same_shape("denoise", network_call(denoise))
    guide = same_shape("guide", network_call(guide))

    def guided(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> Float[Array, "B ..."]:
        plain = denoise(x, t)
        given = one_or_each("weight", weight, len(x))
        w = expand(jnp.where((t >= low) & (t <= high), given, 1.0), x)

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

    Where alpha vanishes the gradient vanishes with it, and their ratio has a limit: it is taken at
    `paths.with_signal`.

    Args:
      score: `(x_t [B, ...], t [B]) -> grad_x log p(y | x_t)` [B, ...].
    """
    x, t = with_signal(path, x, t)
    return expand(path.sigma(t) ** 2 / path.alpha(t), x) * score(x, t)


@no_type_check
def classifier(
    denoise: Denoiser,
    log_likelihood: Callable[[Array, Array], Float[Array, "B"]],
    path: GaussianPath,
    weight: float | Array = 1.0,
    max_level: float | None = None,
) -> Denoiser:
    """Classifier guidance (dhariwal2021, algorithm 2): D + w (sigma^2 / alpha) grad_x log p(y | x).

    Args:
      log_likelihood: `(x_t [B, ...], t [B]) -> log p(y | x_t)` [B], trained on noisy data. Its own
        network is not among the calls that `sample` counts.
      max_level: noise level sigma / alpha above which the classifier does not guide. The gradient
        of an exact log p(y | x_t) vanishes with alpha; that of a trained classifier may not, and
        sigma^2 / alpha is 2,900 at t = 1 of the linear path: give it a level, such as 20.
    """
    weight = _checked_weight(weight)
    if max_level is not None:
        check_range("max_level", max_level, 0, open_low=True)
    denoise = same_shape("denoise", network_call(denoise))
    each = per_point("log_likelihood", log_likelihood)
    score = jax.grad(lambda x, t: jnp.sum(each(x, t)))

    def guided(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> Float[Array, "B ..."]:
        w = jnp.asarray(one_or_each("weight", weight, len(x)), float)
        if max_level is not None:
            w = jnp.where(path.sigma(t) <= max_level * path.alpha(t), w, 0.0)
        return denoise(x, t) + expand(w, x) * likelihood_shift(score, path, x, t)

    return calls_inside(guided)
