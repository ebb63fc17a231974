"""Densities to sample from, known up to a constant, with exact samplers where these exist."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp, ndtri
from jax.scipy.stats import norm

from gen_jax.checks import as_floats, check_form
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.sampling.inverse_cdf import bisect
from gen_jax.types import Array, Float, Key


class Target(NamedTuple):
    """An unnormalised density on [D] and what is known of it.

    Fields:
      log_density: `x [B, D] -> [B]`.
      dim: D.
      sample: `(key, n) -> [n, D]`, exact; None where there is no such sampler.
      log_normalizer: log of the integral of exp(log_density); None where it is not known.
      modes: their centres [K, D], or None.
      weights: probability of each mode [K], or None.
    """

    log_density: Callable[[Array], Array]
    dim: int
    sample: Callable[[Key[Array, ""], int], Array] | None = None
    log_normalizer: float | None = None
    modes: Float[np.ndarray, "K D"] | None = None
    weights: Float[np.ndarray, "K"] | None = None


def _target(log_density: Callable[[Array], Array], dim: int, *known: Any) -> Target:
    """A target whose log-density raises ConfigError for points that are not [B, dim]."""

    def checked(x):
        x = as_floats("x", x)
        check_form("x", x.shape, "B D", {"D": dim})
        return log_density(x)

    return Target(checked, dim, *known)


def _gaussians(means: np.ndarray, factors: np.ndarray, modes: np.ndarray) -> Target:
    """An even mixture of Gaussians with Cholesky factors [K, D, D]; modes share it evenly."""
    count, dim = means.shape
    inverses, log_dets = np.linalg.inv(factors), np.linalg.slogdet(factors)[1]

    def log_density(x):
        z = jnp.einsum("kij,bkj->bki", inverses.astype(x.dtype), x[:, None] - means.astype(x.dtype))
        parts = -0.5 * jnp.sum(z**2, -1) - log_dets.astype(x.dtype)
        return logsumexp(parts, axis=1) - math.log(count) - dim / 2 * LOG_2_PI

    def sample(key, n):
        key_component, key_noise = jax.random.split(key)
        k = jax.random.randint(key_component, (n,), 0, count)
        noise = jax.random.normal(key_noise, (n, dim))
        return jnp.asarray(means)[k] + jnp.einsum("bij,bj->bi", jnp.asarray(factors)[k], noise)

    weights = np.full(len(modes), 1 / len(modes))
    return _target(log_density, dim, sample, 0.0, modes, weights)


def ring(num_modes: int = 8, radius: float = 5.0, std: float = 0.5) -> Target:
    """Gaussians on a circle in the plane."""
    check_range("num_modes", num_modes, 1, integer=True)
    check_range("std", std, 0, open_low=True)
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    means = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    return _gaussians(means, np.tile(std * np.eye(2), (num_modes, 1, 1)), means)


def grid(side: int = 5, half_width: float = 5.0, std: float = 0.3) -> Target:
    """side^2 Gaussians on a square lattice over [-half_width, half_width]^2."""
    check_range("side", side, 2, integer=True)
    check_range("std", std, 0, open_low=True)
    line = np.linspace(-half_width, half_width, side)
    means = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    return _gaussians(means, np.tile(std * np.eye(2), (side**2, 1, 1)), means)


def cross(distance: float = 3.0, correlation: float = 0.9) -> Target:
    """Four crosses at (+-distance, +-distance), each of two Gaussians of correlation +-rho."""
    check_range("correlation", correlation, 0, 0.999)
    modes = distance * np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    across = math.sqrt(1 - correlation**2)
    pair = np.array([[[1, 0], [rho, across]] for rho in (correlation, -correlation)])
    return _gaussians(np.repeat(modes, 2, 0), np.tile(pair, (4, 1, 1)), modes)


def funnel(dim: int = 10, std: float = 3.0) -> Target:
    """x_1 ~ N(0, std^2), the others N(0, e^(x_1)) (neal2003, section 8); without its constants."""
    check_range("dim", dim, 2, integer=True)

    def log_density(x):
        width, rest = x[:, 0], x[:, 1:]
        narrow = jnp.exp(-jnp.clip(width, -80, 80)) * jnp.sum(rest**2, 1)
        return -0.5 * ((width / std) ** 2 + narrow + (dim - 1) * width)

    def sample(key, n):
        z = jax.random.normal(key, (n, dim))
        width = std * z[:, :1]
        return jnp.concatenate([width, jnp.exp(width / 2) * z[:, 1:]], 1)

    return _target(log_density, dim, sample, dim / 2 * LOG_2_PI + math.log(std))


def banana(bend: float = 0.03, std: float = 10.0) -> Target:
    """A Gaussian of deviations (std, 1), bent: x_2 = z - bend (x_1^2 - std^2) (haario1999)."""
    check_range("std", std, 0, open_low=True)
    straight = lambda x: x[:, 1] + bend * (x[:, 0] ** 2 - std**2)

    def log_density(x):
        return -0.5 * ((x[:, 0] / std) ** 2 + straight(x) ** 2)

    def sample(key, n):
        z = jax.random.normal(key, (n, 2))
        first = std * z[:, 0]
        return jnp.stack([first, z[:, 1] - bend * (first**2 - std**2)], 1)

    return _target(log_density, 2, sample, LOG_2_PI + math.log(std))


def many_well(dim: int = 32) -> Target:
    """dim / 2 double wells: x_1^4 - 6 x_1^2 - x_1 / 2 + x_2^2 / 2 for each pair (noe2019).

    The 2^(dim/2) modes are not listed. Exact samples invert a table of the distribution function
    with 20,000 cells of 0.0003 (in x_1).
    """
    check_range("dim", dim, 2, integer=True)
    if dim % 2:
        raise ConfigError(f"dim={dim} must be even: two for each well")
    x = np.linspace(-3.0, 3.0, 20_001)
    density = np.exp(-(x**4) + 6 * x**2 + x / 2)
    cells = (density[1:] + density[:-1]) / 2 * (x[1] - x[0])
    cumulative = np.concatenate([[0.0], np.cumsum(cells)])
    log_normalizer = dim / 2 * (math.log(cumulative[-1]) + LOG_2_PI / 2)

    def log_density(x):
        well, rest = x[:, 0::2], x[:, 1::2]
        return -jnp.sum(well**4 - 6 * well**2 - well / 2 + rest**2 / 2, 1)

    def sample(key, n):
        key_well, key_rest = jax.random.split(key)
        u = jax.random.uniform(key_well, (n, dim // 2))
        well = jnp.interp(u, cumulative / cumulative[-1], x)
        rest = jax.random.normal(key_rest, (n, dim // 2))
        return jnp.stack([well, rest], 2).reshape(n, dim)

    return _target(log_density, dim, sample, log_normalizer)


def _clayton_modes(dim: int, bimodal: int, theta: float, low: float):
    """Sign patterns of the bimodal coordinates and their probabilities, by inclusion-exclusion."""
    all_low = lambda k: (k * (low**-theta - 1) + 1) ** (-1 / theta) if k else 1.0
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * bimodal, indexing="ij")).reshape(bimodal, -1).T
    by_count = [
        sum((-1) ** j * math.comb(bimodal - k, j) * all_low(k + j) for j in range(bimodal - k + 1))
        for k in range(bimodal + 1)
    ]
    weights = np.array(by_count)[(signs < 0).sum(1)]
    return np.pad(signs, ((0, 0), (0, dim - bimodal))), weights


def clayton(dim: int = 8, theta: float = 2.0, bimodal: int = 8) -> Target:
    """A Clayton copula whose first coordinates have two modes each (qiu2024, section 5.2).

    Marginals 0.7 N(-1, 0.2^2) + 0.3 N(1, 0.2^2) for the first `bimodal` coordinates, N(0, 0.5^2)
    for the others. Copula density prod_k (1 + k theta) prod_i u_i^(-theta-1)
    (sum_i u_i^-theta - D + 1)^(-D-1/theta); exact samples by a gamma frailty (marshall1988):
    u_i = (1 + E_i / V)^(-1/theta), E_i exponential, V ~ Gamma(1 / theta).
    """
    check_range("dim", dim, 2, integer=True)
    check_range("theta", theta, 0, open_low=True)
    bimodal, low, std = min(bimodal, dim), 0.7, 0.2
    log_low, log_high = math.log(low), math.log1p(-low)
    constant = sum(math.log1p(k * theta) for k in range(dim))

    def log_marginals(x):
        """log f and log F of each coordinate."""
        two, one = x[:, :bimodal], x[:, bimodal:]
        both = lambda log: jnp.logaddexp(log_low + log(two, -1, std), log_high + log(two, 1, std))
        join = lambda log: jnp.concatenate([both(log), log(one, 0, 0.5)], 1)
        return join(norm.logpdf), jnp.minimum(join(norm.logcdf), -1e-6)

    def log_density(x):
        log_f, log_u = log_marginals(x)
        powers = -theta * log_u
        largest = jnp.max(powers, 1)
        total = jnp.sum(jnp.exp(powers - largest[:, None]), 1) - (dim - 1) * jnp.exp(-largest)
        log_sum = jnp.log(total) + largest
        terms = jnp.sum(log_f - (theta + 1) * log_u, 1)
        return constant + terms - (dim + 1 / theta) * log_sum

    def quantile(u):
        """Of the bimodal marginal."""
        cdf = lambda x: low * norm.cdf(x, -1, std) + (1 - low) * norm.cdf(x, 1, std)
        return bisect(cdf, u, -3.0, 3.0, iterations=50)

    def sample(key, n):
        key_frailty, key_noise = jax.random.split(key)
        frailty = jax.random.gamma(key_frailty, 1 / theta, (n, 1))
        u = (1 + jax.random.exponential(key_noise, (n, dim)) / frailty) ** (-1 / theta)
        u = jnp.clip(u, 1e-30, 1 - jnp.finfo(u.dtype).eps)
        return jnp.concatenate([quantile(u[:, :bimodal]), 0.5 * ndtri(u[:, bimodal:])], 1)

    modes, weights = _clayton_modes(dim, bimodal, theta, low)
    return _target(log_density, dim, sample, 0.0, modes, weights)


def logistic_regression(prior_std: float = 1.0) -> Target:
    """Posterior of a Bayesian logistic regression: tumours of scikit-learn's breast-cancer set.

    569 cases, 30 standardised measurements and a constant, weights N(0, prior_std^2).
    """
    check_range("prior_std", prior_std, 0, open_low=True)
    from sklearn.datasets import load_breast_cancer

    inputs, outcome = load_breast_cancer(return_X_y=True)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    signed = np.column_stack([np.ones(len(inputs)), inputs]) * (2 * outcome - 1)[:, None]

    def log_density(x):
        margins = jnp.matmul(x, signed.T.astype(x.dtype), precision="highest")
        return jnp.sum(jax.nn.log_sigmoid(margins), 1) - 0.5 * jnp.sum((x / prior_std) ** 2, 1)

    return _target(log_density, signed.shape[1])


TARGETS: dict[str, Callable[..., Target]] = {
    "ring": ring,
    "grid": grid,
    "cross": cross,
    "funnel": funnel,
    "banana": banana,
    "many_well": many_well,
    "clayton": clayton,
    "logistic_regression": logistic_regression,
}
"""Every target by name: constructors with keyword arguments."""


def make_target(name: str, **options) -> Target:
    """A target of TARGETS. Raises ConfigError for unknown names and values out of range."""
    return TARGETS[check_choice("target", name, TARGETS)](**options)
