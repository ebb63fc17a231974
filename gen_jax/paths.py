"""The Gaussian path shared by diffusion, score models and flow matching.

    x_t = alpha(t) x0 + sigma(t) eps,   eps ~ N(0, I),   t = 0 is data, t = 1 is noise.

A path is two functions of time; derivatives come from `jax.jvp`. `parameterisations` converts what
a network predicts at a point of it.

References: ho2020 (DDPM), song2021 (VP, sub-VP, VE), karras2022 (EDM).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.axes import expand
from gen_jax.checks import check_callable, check_output, is_known, same_shape
from gen_jax.errors import ConfigError, check_range, shown
from gen_jax.parameterisations import Coefficients, convert
from gen_jax.registries import described
from gen_jax.types import Array, Denoiser, Float


class GaussianPath(NamedTuple):
    """`alpha(t)` scales the data and `sigma(t)` the noise; alpha / sigma falls strictly with t.

    >>> import jax.numpy as jnp
    >>> from gen_jax import paths
    >>> path = paths.GaussianPath(alpha=lambda t: 1 - t**2, sigma=lambda t: t)
    >>> round(float(paths.log_snr(path, jnp.float32(0.5))), 3)
    0.811
    """

    alpha: Callable[[Array], Array]
    sigma: Callable[[Array], Array]


def linear() -> GaussianPath:
    """alpha = 1 - t, sigma = t: rectified flow (liu2023), where velocity = eps - x0."""
    return GaussianPath(lambda t: 1 - t, lambda t: t)


def cosine() -> GaussianPath:
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2): nichol2021 without offset; u = (pi / 2) v."""
    return GaussianPath(lambda t: jnp.sin(jnp.pi / 2 * (1 - t)), lambda t: jnp.sin(jnp.pi / 2 * t))


def _vp_log_alpha(beta_min: float, beta_max: float) -> Callable[[Array], Array]:
    check_range("beta_min", beta_min, 0)
    check_range("beta_max", beta_max, beta_min)
    return lambda t: -0.5 * (beta_min * t + 0.5 * (beta_max - beta_min) * t**2)


def vp(beta_min: float = 0.1, beta_max: float = 20.0) -> GaussianPath:
    """Variance preserving (song2021 eq. 33): sigma^2 = 1 - alpha^2, log alpha = -B / 2.

    B(t) is the integral of beta(t) = beta_min + t (beta_max - beta_min).
    """
    log_alpha = _vp_log_alpha(beta_min, beta_max)
    return GaussianPath(
        lambda t: jnp.exp(log_alpha(t)), lambda t: jnp.sqrt(-jnp.expm1(2 * log_alpha(t)))
    )


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> GaussianPath:
    """Sub-variance preserving (song2021 eq. 29): alpha as in vp, standard deviation 1 - alpha^2."""
    log_alpha = _vp_log_alpha(beta_min, beta_max)
    return GaussianPath(lambda t: jnp.exp(log_alpha(t)), lambda t: -jnp.expm1(2 * log_alpha(t)))


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> GaussianPath:
    """Variance exploding (song2021 eq. 31): alpha = 1, geometric sigma; prior N(0, sigma_max^2)."""
    check_range("sigma_min", sigma_min, 0, open_low=True)
    check_range("sigma_max", sigma_max, sigma_min, open_low=True)
    return GaussianPath(
        lambda t: jnp.ones_like(t), lambda t: sigma_min * (sigma_max / sigma_min) ** t
    )


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> GaussianPath:
    """alpha = 1, sigma warped so that a uniform grid in t is the Karras grid (karras2022 eq. 5)."""
    check_range("sigma_min", sigma_min, 0, open_low=True)
    check_range("sigma_max", sigma_max, sigma_min, open_low=True)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return GaussianPath(lambda t: jnp.ones_like(t), lambda t: (low + t * (high - low)) ** rho)


def linear_betas(num_steps: int = 1000) -> Float[Array, "T"]:
    """ho2020's schedule for any number of steps: 0.1 / T .. 20 / T, so 1e-4 .. 0.02 at T = 1000."""
    check_range("num_steps", num_steps, 21, integer=True)
    return jnp.linspace(0.1, 20.0, num_steps) / num_steps


def cosine_betas(num_steps: int = 1000, offset: float = 0.008) -> Float[Array, "T"]:
    """nichol2021 eq. 17: alpha_bar follows a squared cosine; betas are clipped at 0.999."""
    check_range("num_steps", num_steps, 1, integer=True)
    scale = jnp.pi / 2 / (1 + offset)
    angle = scale * (jnp.linspace(0, 1, num_steps + 1) + offset)
    # 1 - cos^2 b / cos^2 a as a product: the difference would lose float32's precision.
    rise = jnp.sin(scale / num_steps) * jnp.sin(angle[:-1] + angle[1:])
    return jnp.clip(rise / jnp.cos(angle[:-1]) ** 2, 1e-6, 0.999)


def ddpm(betas: Float[Array, "T"]) -> GaussianPath:
    """DDPM's discrete schedule (ho2020 eq. 4) as a path: step k = 0 .. T-1 lies at t = (k + 1) / T.

    Between grid points log alpha^2 is interpolated linearly. Raises ConfigError unless every beta
    is in (0, 1).
    """
    betas = jnp.asarray(betas)
    if betas.ndim != 1 or not bool(jnp.all((betas > 0) & (betas < 1))):
        raise ConfigError(f"betas must be one axis of numbers in (0, 1), got shape {betas.shape}")
    log_square = jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.log1p(-betas))])
    grid = jnp.linspace(0, 1, len(betas) + 1)
    interpolated = lambda t: jnp.interp(t, grid, log_square)
    return GaussianPath(
        lambda t: jnp.exp(0.5 * interpolated(t)), lambda t: jnp.sqrt(-jnp.expm1(interpolated(t)))
    )


def from_gamma(gamma: Callable[[Array], Array]) -> GaussianPath:
    """Variance preserving with log-SNR -gamma(t) (kingma2021 eq. 1-2): sigma^2 = sigmoid(gamma).

    Args:
      gamma: rising, finite at both ends, differentiable by `jax.jvp`; see `nets.MonotoneSchedule`.
    """
    return GaussianPath(
        lambda t: jnp.sqrt(jax.nn.sigmoid(-gamma(t))), lambda t: jnp.sqrt(jax.nn.sigmoid(gamma(t)))
    )


def as_path(path: Any) -> GaussianPath:
    """Return a path; raises ConfigError for anything else, such as a name."""
    if not isinstance(path, GaussianPath):
        raise ConfigError(f"path={shown(path)} must be a GaussianPath such as paths.linear()")
    return path


def check_path(path: Any) -> GaussianPath:
    """Return a path whose functions are as `GaussianPath` says.

    Raises ConfigError unless both return an array like t, finite and at least 0, and alpha / sigma
    falls from t = 0, the data, to t = 1: paths of papers whose time runs the other way do not.
    """
    for name, function in as_path(path)._asdict().items():
        check_callable(f"path.{name}", function)
    with jax.ensure_compile_time_eval():
        t = jnp.linspace(0, 1, 9)
        values = [same_shape(f"path.{name}", f)(t) for name, f in path._asdict().items()]
        if not all(map(is_known, values)):
            return path
        alpha, sigma = (np.asarray(value, np.float64) for value in values)
    if not all(np.isfinite(value).all() and value.min() >= 0 for value in (alpha, sigma)):
        raise ConfigError("path: alpha and sigma must be finite and at least 0 for t in [0, 1]")
    ratio = np.arctan2(alpha, sigma)
    if np.any(np.diff(ratio) > 0) or not ratio[-1] < ratio[0]:
        ends = [f"{alpha[i]:g} / {sigma[i]:g}" for i in (0, -1)]
        raise ConfigError(
            "path: alpha / sigma must fall from t = 0 (data) to t = 1 (noise); it goes from "
            f"{ends[0]} to {ends[1]}"
        )
    return path


PATHS: dict[str, Callable[..., GaussianPath]] = {
    "linear": linear,
    "cosine": cosine,
    "vp": vp,
    "sub_vp": sub_vp,
    "ve": ve,
    "edm": edm,
    "ddpm": described(
        "DDPM's schedule of 1000 steps with linear betas (ho2020).", lambda: ddpm(linear_betas())
    ),
    "ddpm_cosine": described(
        "DDPM's schedule of 1000 steps with cosine betas (nichol2021 eq. 17).",
        lambda: ddpm(cosine_betas()),
    ),
}
"""Every path by name, at its paper's defaults."""


def coefficients(path: GaussianPath, t: Float[Array, "..."]) -> Coefficients:
    """alpha, sigma and their derivatives at t, of t's shape."""
    path, t = as_path(path), jnp.asarray(t)
    one = jnp.ones_like(t)
    alpha, d_alpha = jax.jvp(path.alpha, (t,), (one,))
    sigma, d_sigma = jax.jvp(path.sigma, (t,), (one,))
    return Coefficients(alpha, sigma, d_alpha, d_sigma)


def log_snr(path: GaussianPath, t: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(alpha^2 / sigma^2), which falls with t; infinite where alpha or sigma is zero."""
    t = jnp.asarray(t)
    return 2 * (jnp.log(path.alpha(t)) - jnp.log(path.sigma(t)))


def time_of_log_snr(
    path: GaussianPath, value: Float[Array, "..."], iterations: int = 60
) -> Float[Array, "..."]:
    """The t in [0, 1] at which `log_snr` has this value, by bisection; clipped to the ends.

    It has derivatives in the value and in what the path depends on.
    """
    value = jnp.asarray(value)

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        noisier = log_snr(path, middle) < value
        return jnp.where(noisier, low, middle), jnp.where(noisier, middle, high)

    low, high = jax.lax.fori_loop(
        0, iterations, halve, (jnp.zeros_like(value), jnp.ones_like(value))
    )
    t = jax.lax.stop_gradient(0.5 * (low + high))
    # Bisection has no derivative. That of the equation, value - log_snr(t) = 0, is added as a 0.
    inside = (t > 0) & (t < 1)
    at = jnp.where(inside, t, 0.5)
    found, slope = jax.jvp(partial(log_snr, path), (at,), (jnp.ones_like(at),))
    missing = (value - found) / jax.lax.stop_gradient(slope)
    usable = inside & jnp.isfinite(missing)
    return t + jnp.where(usable, missing - jax.lax.stop_gradient(missing), 0)


def sde(
    path: GaussianPath, t: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """(f, g) of the noising SDE dX = f X dt + g dB that has the path's marginals (song2021 eq. 5).

    f = alpha' / alpha and g^2 = (sigma^2)' - 2 f sigma^2, of t's shape; infinite where alpha is 0.
    """
    alpha, sigma, d_alpha, d_sigma = coefficients(path, t)
    f = d_alpha / alpha
    return f, jnp.sqrt(jnp.maximum(2 * sigma * (d_sigma - f * sigma), 0))


def velocity(denoise: Denoiser, path: GaussianPath) -> Callable[[Array, Array], Array]:
    """A denoiser's probability-flow velocity u(x, t) = alpha' E[x0 | x] + sigma' E[eps | x]."""

    def field(x, t):
        x0 = check_output("denoise", denoise(x, t), x.shape)
        return convert(x0, x, coefficients(path, t), "x0", "velocity")

    return field


def transfer(denoise: Denoiser, source: GaussianPath, target: GaussianPath) -> Denoiser:
    """A denoiser trained on `source`, for use under `target`.

    E[x0 | x_t] depends on x_t only through x_t / alpha and on t only through sigma / alpha
    (karras2022, app. B), so the time is translated at equal signal-to-noise ratio and the point by
    the ratio of sqrt(alpha^2 + sigma^2). Levels outside the source's range are clipped to its ends.
    """

    def translated(x, t):
        t_source = time_of_log_snr(source, log_snr(target, t))
        return denoise(_rescaled(x, target, t, source, t_source), t_source)

    return translated


def _rescaled(x: Array, path: GaussianPath, t: Array, other: GaussianPath, s: Array) -> Array:
    """x_t of one path as x_s of another, at the same x / sqrt(alpha^2 + sigma^2)."""
    norm = lambda path, t: jnp.hypot(path.alpha(t), path.sigma(t))
    return (expand(norm(other, s) / norm(path, t), x) * x).astype(x.dtype)


def with_signal(
    path: GaussianPath, x: Float[Array, "B ..."], t: Float[Array, "B"]
) -> tuple[Float[Array, "B ..."], Float[Array, "B"]]:
    """(x, t) no closer to pure noise than alpha / sigma >= sqrt(e), e the rounding of x's dtype.

    For ratios with alpha below, such as (sigma^2 / alpha) times a gradient, on paths whose alpha
    ends below sqrt(e) of where it starts; other paths are left alone. What a limit at alpha = 0
    differs by and what the ratio magnifies of the rounding are then of one size. x keeps its
    x / sqrt(alpha^2 + sigma^2).
    """
    least = jnp.sqrt(jnp.finfo(x.dtype).eps).astype(t.dtype)
    start, end = path.alpha(jnp.array([0.0, 1.0], t.dtype))
    floor = jnp.where(end < least * start, 2 * jnp.log(least), -jnp.inf)
    near = jnp.minimum(t, time_of_log_snr(path, floor))
    return _rescaled(x, path, t, path, near), near
