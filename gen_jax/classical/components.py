"""Gaussian mixtures: log p(x) = log sum_k w_k N(x; m_k, C_k), full or diagonal C_k.

Every density goes through residuals y_k = L_k^-1 (x - m_k) with C_k = L_k L_k^T, so that
log N = -|y|^2 / 2 - log|L| - D/2 log 2 pi. The residuals of all components are one matrix product
with the stacked inverse factors; points lie along the last axis, which is where machines are wide.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp

from gen_jax import safe
from gen_jax.annotations import floats
from gen_jax.checks import as_floats, check_form, is_known, no_type_check
from gen_jax.errors import ConfigError, shown
from gen_jax.randomness import sample_keys
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.types import Array, Float, Key


class Mixture(NamedTuple):
    """weights [K] with sum 1, means [K, D], covariances [K, D, D], or variances [K, D]."""

    weights: Float[Array, "K"]
    means: Float[Array, "K D"]
    covariances: Float[Array, "K D *D"]


class Whitening(NamedTuple):
    """What a mixture's density needs: log weights [K], means [K, D], inverses of the factors L_k.

    The inverses are [K, D, D], lower triangular, or [K, D] for diagonal covariances.
    """

    log_weights: Float[Array, "K"]
    means: Float[Array, "K D"]
    inverses: Float[Array, "K D *D"]


def factors(covariances: Float[Array, "K D *D"]) -> Float[Array, "K D *D"]:
    """Lower Cholesky factors [K, D, D], or standard deviations [K, D]; NaN where not positive."""
    return jnp.sqrt(covariances) if covariances.ndim == 2 else jnp.linalg.cholesky(covariances)


def inverse_factors(lower: Float[Array, "K D *D"]) -> Float[Array, "K D *D"]:
    """The inverses of `factors`."""
    if lower.ndim == 2:
        return 1 / lower
    eye = jnp.broadcast_to(jnp.eye(lower.shape[-1], dtype=lower.dtype), lower.shape)
    return solve_triangular(lower, eye, lower=True)


def whitening(mixture: Mixture) -> Whitening:
    """The mixture in the form that `log_joint` takes."""
    inverses = inverse_factors(factors(mixture.covariances))
    return Whitening(safe.log(mixture.weights), mixture.means, inverses)


def log_joint(
    w: Whitening, x: Float[Array, "D N"]
) -> tuple[Float[Array, "K N"], Float[Array, "K D N"]]:
    """log(w_k N(x; m_k, C_k)) in nats and the residuals, for points in columns."""
    dim = x.shape[0]
    if w.inverses.ndim == 2:
        diagonal = w.inverses
        y = (x - w.means[:, :, None]) * diagonal[:, :, None]
    else:
        diagonal = jnp.diagonal(w.inverses, axis1=1, axis2=2)
        shift = jnp.einsum("kij,kj->ki", w.inverses, w.means, precision="highest")
        stacked = jnp.matmul(w.inverses.reshape(-1, dim), x, precision="highest")
        y = stacked.reshape(-1, dim, x.shape[1]) - shift[:, :, None]
    constant = w.log_weights + jnp.log(diagonal).sum(1) - dim / 2 * LOG_2_PI
    return constant[:, None] - 0.5 * jnp.sum(y * y, 1), y


def checked_mixture(argument: str, mixture: Any) -> Mixture:
    """A mixture as floating-point numbers: one weight and one covariance for each mean.

    Raises ConfigError for what is no `Mixture`, for shapes that do not belong together (a single
    weight would be that of every component), and for weights below 0 and covariances that are not
    positive definite, where these are known.
    """
    if not isinstance(mixture, Mixture):
        raise ConfigError(f"{argument}={shown(mixture)} must be a Mixture")
    named = zip(Mixture._fields, mixture)
    mixture = Mixture(*(as_floats(f"{argument}.{name}", part) for name, part in named))
    sizes: dict[str, int] = {}
    forms = ("K", "K D", "K D D" if mixture.covariances.ndim == 3 else "K D")
    for name, part, form in zip(Mixture._fields, mixture, forms):
        check_form(f"{argument}.{name}", part.shape, form, sizes)
    lower = factors(mixture.covariances)
    stds = lower if lower.ndim == 2 else jnp.diagonal(lower, axis1=1, axis2=2)
    right = jnp.all(mixture.weights >= 0) & jnp.all(stds > 0)
    if is_known(right) and not right:
        raise ConfigError(
            f"{argument} must have weights >= 0 and covariances that are positive definite"
        )
    return mixture


def _centred_log_joint(mixture: Mixture, x: Float[Array, "N D"]) -> Float[Array, "K N"]:
    """log(w_k N(x; m_k, C_k)) around the mean, which keeps the residuals free of cancellation."""
    mixture = checked_mixture("mixture", mixture)
    check_form("x", x.shape, "N D", {"D": mixture.means.shape[1]})
    centre = mixture.weights @ mixture.means
    w = whitening(mixture._replace(means=mixture.means - centre))
    return log_joint(w, (x - centre).T)[0]


@floats(x="N D")
def log_prob(mixture: Mixture, x: Float[Array, "N D"]) -> Float[Array, "N"]:
    """log p(x) in nats."""
    return logsumexp(_centred_log_joint(mixture, x), axis=0)


@floats(x="N D")
def responsibilities(mixture: Mixture, x: Float[Array, "N D"]) -> Float[Array, "N K"]:
    """p(component | x)."""
    return jax.nn.softmax(_centred_log_joint(mixture, x), axis=0).T


@no_type_check
def sample(key: Key[Array, "*batch"], mixture: Mixture, n: int) -> Float[Array, "n D"]:
    """Exact draws; `key` is one key, or one per sample [n]."""
    mixture = checked_mixture("mixture", mixture)
    lower, log_weights = factors(mixture.covariances), jnp.log(mixture.weights)
    times = jnp.multiply if lower.ndim == 2 else jnp.matmul

    def one(key):
        key_component, key_noise = jax.random.split(key)
        k = jax.random.categorical(key_component, log_weights)
        noise = jax.random.normal(key_noise, mixture.means.shape[1:], mixture.means.dtype)
        return mixture.means[k] + times(lower[k], noise)

    return jax.vmap(one)(sample_keys(key, n))


def isotropic(shape: tuple[int, int], variance: Float[Array, ""]) -> Float[Array, "K D D"]:
    """`variance` times the identity, for each of K components: full covariances."""
    return jnp.broadcast_to(variance * jnp.eye(shape[1], dtype=variance.dtype), (*shape, shape[1]))


COVARIANCES: dict[str, Callable[..., Array]] = {
    "full": isotropic,
    "diagonal": lambda shape, variance: jnp.broadcast_to(variance, shape),
}
"""Kinds of covariance: `(shape (K, D), variance []) -> covariances` of equal round components."""
