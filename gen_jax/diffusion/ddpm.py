"""DDPM in discrete time: its loss, and its variational bound (ho2020, section 3).

Step k = 0 .. T-1 lies at t = (k + 1) / T of the path `ddpm(betas)`; any path has such a bound for
any number of steps T:

    -log p(x0) <= L_T + sum_{k=1}^{T-1} L_k + L_0,
    L_T = KL(q(x_1 | x0) | N(0, alpha_1^2 + sigma_1^2)), the law that `sampler.prior` draws from,
    L_k = (SNR_s - SNR_t) |x0 - D(x_t)|^2 / 2,
    L_0 = -log p(x0 | x_t) at the cleanest step, normal around D(x_t) with variance sigma_t^2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.annotations import floats
from gen_jax.axes import expand
from gen_jax.checks import as_floats, as_times, is_known, same_shape
from gen_jax.diffusion.learned_variance import variance_term
from gen_jax.diffusion.losses import denoising_loss
from gen_jax.errors import ConfigError, check_finite, check_range
from gen_jax.paths import GaussianPath, log_snr
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.types import Array, Denoiser, Float, Key


@floats(key="key", x0="...")
def ddpm_loss(
    key: Key[Array, ""],
    predict: Callable[[Array, Array], Array],
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    *,
    num_steps: int = 1000,
    prediction: str = "eps",
    weighting: str | Callable = "simple",
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """ho2020 eq. 14: the squared error of eps at a uniformly drawn integer step, per example."""
    check_range("num_steps", num_steps, 1, integer=True)
    key_time, key_noise = jax.random.split(key)
    k = jax.random.randint(key_time, x0.shape[:1], 0, num_steps)
    eps = jax.random.normal(key_noise, x0.shape, x0.dtype)
    t = ((k + 1) / num_steps).astype(jnp.promote_types(x0.dtype, jnp.float32))
    return denoising_loss(predict, path, x0, eps, t, prediction=prediction, weighting=weighting)


def _sum(x: Array) -> Array:
    return jnp.sum(x, axis=tuple(range(1, x.ndim)))


def check_bin_width(bin_width: float | None) -> None:
    """Raise ConfigError for a width of bins that is not above 0 and finite; None is a density."""
    if bin_width is not None:
        check_finite("bin_width", check_range("bin_width", bin_width, 0, open_low=True))


def reconstruction_term(
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    x_t: Float[Array, "B ..."],
    t: Float[Array, "B"],
    bin_width: float | None,
) -> Float[Array, "B"]:
    """-log p(x0 | x_t) in nats: normal around D(x_t), or its mass on x0's bin (ho2020 eq. 13).

    The bins at -1 and 1 take the open tails; the variance is sigma_t^2.
    """
    mean, std = denoise(x_t, t), expand(path.sigma(t), x0)
    z = (x0 - mean) / std
    if bin_width is None:
        return _sum(0.5 * z**2 + jnp.log(std) + 0.5 * jnp.log(2 * jnp.pi))
    half = bin_width / 2
    # The last centre is 1 or 1 - half, the one before at most 1 - 2 half: compare in between.
    edge = 1 - 1.5 * half
    upper = jnp.where(x0 > edge, jnp.inf, (x0 + half - mean) / std)
    lower = jnp.where(x0 < -edge, -jnp.inf, (x0 - half - mean) / std)
    # Work in the lower tail, where the difference of two log-cdfs does not cancel.
    flip = lower + upper > 0
    low, high = jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)
    # Of the open tails the lower end is -inf, where the slope of a log-cdf is NaN.
    log_cdf, ended = jax.scipy.stats.norm.logcdf, jnp.isneginf(low)
    log_high = log_cdf(high)
    log_low = jnp.where(ended, -jnp.inf, log_cdf(jnp.where(ended, 0, low)))
    return -_sum(log_high + jnp.log1p(-jnp.exp(jnp.minimum(log_low - log_high, -1e-7))))


def prior_term(path: GaussianPath, x0: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """KL(q(x_1 | x0) | N(0, alpha_1^2 + sigma_1^2)) in nats."""
    one = jnp.ones((), x0.dtype)
    a, s = path.alpha(one), path.sigma(one)
    prior = a**2 + s**2
    return 0.5 * _sum(((a * x0) ** 2 + s**2) / prior - 1 - jnp.log(s**2 / prior))


def variational_bound(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    *,
    num_steps: int = 1000,
    num_samples: int | None = None,
    bin_width: float | None = 2 / 256,
    times: Float[Array, " times"] | None = None,
    fraction: float | Callable[[Array, Array], Array] = 0.0,
) -> dict[str, Float[Array, "B"]]:
    """The bound on -log p(x0) in nats per example: "prior" L_T, "diffusion", "reconstruction" L_0.

    Args:
      x0: encoded data; with `bin_width`, centres of bins in [-1, 1] (2 / 256 for 8-bit images; or
        2 / 255 when the outer centres are -1 and 1, as in ho2020), and the bound is on a
        probability mass; with None, on a density.
      num_steps: T, the number of steps of the generative process on a uniform grid.
      times: T rising times that end at 1, instead of that grid. Where sigma(0) = 0 a uniform grid
        costs a share of a nat per dimension at any T, because its first steps halve the noise: a
        grid uniform in log-SNR, `GRIDS["log_snr"](path, T)[-2::-1]`, does not.
      num_samples: of the T - 1 inner terms, how many are evaluated (stratified, unbiased); None is
        all of them. Network calls: that number plus one.
      fraction: of the reverse variances, see `reverse_log_variance`: 0 is the posterior's, 1 the
        upper one, or `(x_t [B, ...], t [B]) -> [B, ...]` a learned one.
    Raises ConfigError for numbers out of range, and for times that do not rise to 1.
    """
    check_bin_width(bin_width)
    if times is not None:
        times = as_times(times, rising=True)
        if is_known(times) and (last := np.asarray(times)[-1]) < 1 - 1e-6:
            raise ConfigError(f"times end at {last:g}; they must end at 1, where the prior is")
    x0 = as_floats("x0", x0, least=jnp.float32)  # neither times nor sums in half precision
    num_steps = num_steps if times is None else times.shape[0]
    check_range("num_steps", num_steps, 2, integer=True)
    grid = jnp.arange(1, num_steps + 1) / num_steps if times is None else times
    grid = grid.astype(x0.dtype)
    num_samples = num_steps - 1 if num_samples is None else num_samples
    check_range("num_samples", num_samples, 1, num_steps - 1, integer=True)
    denoise = same_shape("denoise", denoise)
    keys = sample_keys(key, x0.shape[0])
    terms = num_steps - 1

    def noised(index, t):
        eps = normal(fold_in(keys, index), x0.shape[1:], x0.dtype)
        return expand(path.alpha(t), x0) * x0 + expand(path.sigma(t), x0) * eps

    def term(x0_hat, x_t, t, s):
        if isinstance(fraction, int | float) and fraction == 0:
            weight = 0.5 * (jnp.exp(log_snr(path, s)) - jnp.exp(log_snr(path, t)))
            return weight * _sum((x0 - x0_hat) ** 2)
        f = fraction(x_t, t) if callable(fraction) else jnp.full_like(x0, fraction)
        return variance_term(x0_hat, f, path, x0, x_t, t, s)

    def add_term(total, index):
        # One stratum of the inner steps per index, and a step of its own for each example.
        offset = jax.vmap(jax.random.uniform)(fold_in(keys, num_steps + index))
        k = 1 + jnp.floor((index + offset) * terms / num_samples)
        k = jnp.minimum(k, terms).astype(int)
        t, s = grid[k], grid[k - 1]
        x_t = noised(index, t)
        return total + term(denoise(x_t, t), x_t, t, s) * terms / num_samples, None

    zero = jnp.zeros(x0.shape[:1], x0.dtype)
    diffusion, _ = jax.lax.scan(add_term, zero, jnp.arange(num_samples))

    first = jnp.full(x0.shape[:1], grid[0])
    x_first = noised(num_samples, first)
    return {
        "prior": prior_term(path, x0),
        "diffusion": diffusion,
        "reconstruction": reconstruction_term(denoise, path, x0, x_first, first, bin_width),
    }
