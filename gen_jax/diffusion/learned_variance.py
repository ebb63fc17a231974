"""Learned reverse variances (nichol2021): the noise of each reverse step, beside its mean.

q(x_s | x_t) is nearly normal for a short step. Its variance lies between two known ones,

    upper      b = sigma_t^2 (1 - exp(-2 h)),        exact for standard normal data,
    posterior  b exp(-2 h) alpha_s^2 / alpha_t^2 = sigma_s^2 (1 - exp(-2 h)), for one data point,

h the rise of log(alpha / sigma). A network gives the fraction f of the way between their logarithms
(eq. 15); its mean is trained by the plain loss, and f by the bound with the mean held (eq. 16).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.calls import called
from gen_jax.checks import as_floats, as_key, check_callable, check_output, no_type_check
from gen_jax.diffusion.ddim import ddim_line
from gen_jax.diffusion.losses import denoising_loss, off_the_poles
from gen_jax.diffusion.sampler import Stepper, Transition
from gen_jax.errors import ConfigError, check_finite, check_range, shown
from gen_jax.parameterisations import convert
from gen_jax.paths import GaussianPath, coefficients, log_snr
from gen_jax.randomness import normal
from gen_jax.types import Array, Float, Key

Both = Callable[[Array, Array], tuple[Array, Array]]
"""`(x_t [B, ...], t [B]) -> (value, fraction)`, both [B, ...]."""


def _log_variance(now: Any, arrival: Any, fraction: Array) -> Array:
    """log variance from (alpha, sigma) at t and at s, where sigma_s > 0."""
    (a, b), (c, d) = now, arrival
    rest = (d * a / (c * b)) ** 2
    return 2 * jnp.log(d) + jnp.log1p(-rest) + fraction * 2 * (jnp.log(b) - jnp.log(d))


@no_type_check
def reverse_log_variance(
    path: GaussianPath,
    t: Float[Array, "*batch"],
    s: Float[Array, "*batch"],
    fraction: Float[Array, "..."],
) -> Float[Array, "..."]:
    """f log(upper) + (1 - f) log(posterior) of the step t -> s: [] or [B] against f [B, ...].

    The two are those of this very step, also where steps are skipped. -inf at s = 0, where the
    data are reached.
    """
    t, s, fraction = (as_floats(n, a) for n, a in (("t", t), ("s", s), ("fraction", fraction)))
    at = lambda u: (expand(path.alpha(u), fraction), expand(path.sigma(u), fraction))
    alpha, sigma = at(s)
    found = _log_variance(at(t), (alpha, jnp.where(sigma > 0, sigma, 1)), fraction)
    return jnp.where(sigma > 0, found, -jnp.inf)


@no_type_check
@shaped("t", "s")
def variance_term(
    x0_hat: Float[Array, "B *D"],
    fraction: Float[Array, "B *D"],
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x_t: Float[Array, "B *D"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
) -> Float[Array, "B"]:
    """KL(q(x_s | x_t, x0) | N(m(x_t, x0_hat), variance of the fraction)) in nats, 0 < s < t.

    With r = log(variance / posterior variance), summed over dimensions,

        [exp(-r) - 1 + r] / 2 + exp(-r) (SNR_s - SNR_t) |x0 - x0_hat|^2 / 2:

    the means are linear in x_t with one slope, so that x_t itself cancels.
    """
    del x_t
    for name, part in (("x0_hat", x0_hat), ("fraction", fraction)):
        check_output(name, part, x0.shape, "that of x0, ")
    r = fraction * 2 * expand(jnp.log(path.sigma(t)) - jnp.log(path.sigma(s)), x0)
    rise = expand(jnp.exp(log_snr(path, s)) - jnp.exp(log_snr(path, t)), x0)
    each = jnp.exp(-r) * (1 + rise * (x0 - x0_hat) ** 2) - 1 + r
    return 0.5 * jnp.sum(each, axis=tuple(range(1, x0.ndim)))


def _pair(name: str, out: Any) -> tuple[Array, Array]:
    """What a function of `Both` returned. Raises ConfigError for anything but two."""
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise ConfigError(f"{name} returned {shown(out)}, allowed: a pair (value, fraction)")
    return tuple(out)


@no_type_check
@shaped("t")
def hybrid_steps_loss(
    predict: Both,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    eps: Float[Array, "B *D"],
    t: Float[Array, "B"],
    *,
    prediction: str = "v",
    data_std: float = 1.0,
    num_steps: int = 1000,
    vlb_weight: float = 1e-3,
    **options: Any,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """`denoising_loss` + vlb_weight T L, at all times, so that any sampler and grid can be used.

    L is `variance_term` per dimension of the step from t to max(t - 1 / T, t / 2), with the
    gradient of the mean stopped; below t = 1 / T, where a step would end in the data, it is 0.

    Args:
      predict: a value of parameterisation `prediction`, and the fraction.
    Returns the loss [B], and under "variance_bound" [B] the bound T L in nats per dimension.
    """
    check_callable("predict", predict)
    check_range("num_steps", num_steps, 2, integer=True)
    check_finite("vlb_weight", check_range("vlb_weight", vlb_weight, 0))
    t = off_the_poles(path, t)
    s = jnp.maximum(t - 1 / num_steps, 0.5 * t)
    c = coefficients(path, t)
    x_t = expand(c.alpha, x0) * x0 + expand(c.sigma, x0) * eps
    value, fraction = _pair("predict", predict(x_t, t))
    check_output("predict's fraction", fraction, x0.shape)
    loss, metrics = denoising_loss(
        lambda *_: value, path, x0, eps, t, prediction=prediction, data_std=data_std, **options
    )
    x0_hat = jax.lax.stop_gradient(convert(value, x_t, c, prediction, "x0", data_std))
    inner = jnp.where(t * num_steps > 1, t, 0.5)  # a time whose term is finite in place of others
    term = variance_term(x0_hat, fraction, path, x0, x_t, inner, jnp.where(inner == t, s, 0.25))
    bound = jnp.where(inner == t, term, 0) * num_steps / x0[0].size
    return loss + vlb_weight * bound, {**metrics, "variance_bound": bound}


@no_type_check
def hybrid_loss(
    key: Key[Array, ""],
    predict: Both,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    *,
    num_steps: int = 1000,
    prediction: str = "eps",
    vlb_weight: float = 1e-3,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """nichol2021 eq. 16 at a uniformly drawn time, per example; see `hybrid_steps_loss`."""
    x0 = as_floats("x0", x0, least=jnp.float32)  # no times in half precision
    key_time, key_noise = jax.random.split(as_key("key", key))
    t = jax.random.uniform(key_time, x0.shape[:1], x0.dtype)
    eps = jax.random.normal(key_noise, x0.shape, x0.dtype)
    steps: Any = {"num_steps": num_steps, "vlb_weight": vlb_weight}
    return hybrid_steps_loss(
        predict, path, x0, eps, t, prediction=prediction, weighting="simple", **steps
    )


@no_type_check
def learned_ancestral(both: Both) -> Stepper:
    """Ancestral sampling with the variances of a fraction; the step to the data adds no noise.

    Args:
      both: `(x_t [B, ...], t [B]) -> (x0_hat, fraction)`, one network call; the `denoise` of
        `sample` is not called.
    """

    check_callable("both", both)

    def step(keys, denoise, path, x, carry, transition):
        x0_hat, fraction = _pair("both", both(x, jnp.full(x.shape[:1], transition.t)))
        return _step(called(x0_hat), fraction, keys, x, transition), carry

    return Stepper(step, stochastic=True, calls_denoiser=False)


def ancestral_with(fraction: Callable[[Array, Array], Array]) -> Stepper:
    """`learned_ancestral` with the x0_hat of the denoiser that is sampled, guided or not."""

    def step(keys, denoise, path, x, carry, transition):
        t = jnp.full(x.shape[:1], transition.t)
        return _step(denoise(x, t), fraction(x, t), keys, x, transition), carry

    return Stepper(step, stochastic=True)


def _step(x0_hat: Array, fraction: Array, keys: Array, x: Array, transition: Transition) -> Array:
    for name, part in (("x0_hat", x0_hat), ("fraction", fraction)):
        check_output(name, part, x.shape, "that of x, ")
    mean = ddim_line(x, x0_hat, transition, 1.0, 0.0)
    now, arrival = transition.now, transition.next
    sigma = jnp.where(transition.last, 0.5 * now.sigma, arrival.sigma)
    log_variance = _log_variance((now.alpha, now.sigma), (arrival.alpha, sigma), fraction)
    std = jnp.where(transition.last, 0.0, jnp.exp(0.5 * log_variance))
    return (mean + std * normal(keys, x.shape[1:], x.dtype)).astype(x.dtype)
