"""From a network to a denoiser.

The network sees x_t / N with N^2 = alpha^2 sd^2 + sigma^2 (unit variance, karras2022 table 1 on any
path) and a function of sigma / alpha, so what it learns depends on the noise-to-signal ratio alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.axes import expand
from gen_jax.calls import called, calls_inside
from gen_jax.checks import check_output
from gen_jax.diffusion.time_sampling import T_MIN, off_the_steep
from gen_jax.parameterisations import convert
from gen_jax.paths import GaussianPath, coefficients
from gen_jax.types import Array, Denoiser, Float


def noise_input(path: GaussianPath, t: Float[Array, "B"]) -> Float[Array, "B"]:
    """c_noise = log(sigma / alpha) / 4 (karras2022, table 1), clipped to [-2.5, 2.5].

    Its derivative in t is steep near the ends (on the linear path 1 / (4 t (1 - t))), and 0 where
    it is clipped: a network that is differentiated in time takes `noise_angle`.
    """
    # sigma may be infinitely steep at 0, and inf * 0 is NaN: there, in the clip, t is not followed.
    held = path.sigma(t) <= 0
    t = jnp.where(held, jax.lax.stop_gradient(jnp.where(held, T_MIN, t)), t)
    alpha, sigma = path.alpha(t), jnp.where(held, 0.0, path.sigma(t))
    inside = (sigma > jnp.exp(-10.0) * alpha) & (alpha > jnp.exp(-10.0) * sigma)
    # A derivative of the logarithm at 0 would be NaN although it is not used.
    log_level = jnp.log(jnp.where(inside, sigma, 1.0)) - jnp.log(jnp.where(inside, alpha, 1.0))
    return jnp.where(inside, log_level, jnp.where(sigma > alpha, 10.0, -10.0)) / 4


def noise_angle(path: GaussianPath, t: Float[Array, "B"]) -> Float[Array, "B"]:
    """(2 / pi) atan2(sigma, alpha) in [0, 1]: smooth in t up to both ends.

    On the cosine path it is t itself. Where sigma'(0) is infinite (vp, ddpm) t is at least T_MIN.
    """
    t = off_the_steep(path, t)
    return jnp.arctan2(path.sigma(t), path.alpha(t)) * (2 / jnp.pi)


NOISE_INPUTS: dict[str, Callable] = {
    "log_snr": noise_input,
    "angle": noise_angle,
}
"""What a network may see of the time, by name: `(path, t [B]) -> [B]`; of sigma / alpha alone."""


class Preconditioned(NamedTuple):
    """A network with its scalings on one path (karras2022, table 1).

    Fields:
      apply: `(params, x [B, ...], noise [B], condition or None) -> [B, ...]`.
      path: the path it is trained on.
      prediction: what it predicts, one of `parameterisations.PARAMETERISATIONS`.
      data_std: standard deviation of the data on the path.
      noise: `(path, t [B]) -> [B]`, what the network sees of the time; see NOISE_INPUTS.
      learned_variance: whether the network returns twice the channels: see `predict_both`.
    """

    apply: Callable
    path: GaussianPath
    prediction: str
    data_std: float
    noise: Callable = noise_input
    learned_variance: bool = False


def predict(
    p: Preconditioned,
    params: Any,
    x: Float[Array, "B ..."],
    t: Float[Array, "B"],
    condition: Any = None,
) -> Float[Array, "B ..."]:
    """The network's raw output: a value of parameterisation `p.prediction` at (x, t)."""
    if p.learned_variance:
        return predict_both(p, params, x, t, condition)[0]
    return check_output("network", _output(p, params, x, t, condition), x.shape)


def predict_both(
    p: Preconditioned,
    params: Any,
    x: Float[Array, "B ..."],
    t: Float[Array, "B"],
    condition: Any = None,
) -> tuple[Float[Array, "B ..."], Float[Array, "B ..."]]:
    """The two halves of an output of twice the channels: the prediction, and a variance's fraction.

    The fraction of `reverse_log_variance` is (1 + v) / 2 of the second half v, which is not bounded
    (nichol2021 eq. 15). Raises ConfigError for an output that has not twice the channels of x.
    """
    out = _output(p, params, x, t, condition)
    shape = (*x.shape[:-1], 2 * x.shape[-1])
    value, v = jnp.split(check_output("network", out, shape, "twice the channels of x, "), 2, -1)
    return value, 0.5 * (1 + v)


def _output(p: Preconditioned, params: Any, x: Array, t: Array, condition: Any) -> Any:
    norm = jnp.sqrt((p.path.alpha(t) * p.data_std) ** 2 + p.path.sigma(t) ** 2)
    return p.apply(params, x / expand(norm, x), p.noise(p.path, t), condition)


def network_denoiser(p: Preconditioned, params: Any, condition: Any = None) -> Denoiser:
    """`denoise(x [B, ...], t [B]) -> E[x0 | x_t = x]` of a network with these parameters."""

    def denoise(x, t):
        raw = predict(p, params, x, t, condition)
        return called(convert(raw, x, coefficients(p.path, t), p.prediction, "x0", p.data_std))

    return calls_inside(denoise)
