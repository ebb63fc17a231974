"""Fit a Gaussian mixture by gradient ascent on the log-likelihood.

Free parameters: logits of the weights (softmax), means, and Cholesky factors whose diagonal is
sqrt(floor) + exp(.), so that every point of parameter space is a mixture.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import logsumexp

from gen_jax.checks import as_key, no_type_check
from gen_jax.classical.components import Mixture, Whitening, factors, inverse_factors, log_joint
from gen_jax.classical.em import Fit, checked_points, checked_start, standardise
from gen_jax.classical.kmeans import start_mixture, variance_floor
from gen_jax.errors import NumericalError, check_range
from gen_jax.optimization import apply_gradient, start_moments
from gen_jax.types import Array, Float, Key, Num


class FreeMixture(NamedTuple):
    """A mixture without constraints: logits [K], means [K, D], factors with log diagonal.

    The factors are [K, D, D], lower triangular (what is above the diagonal is ignored), or, for
    diagonal covariances, log standard deviations [K, D].
    """

    logits: Float[Array, "K"]
    means: Float[Array, "K D"]
    factors: Float[Array, "K D *D"]


def free(mixture: Mixture, floor: float | Array) -> FreeMixture:
    """The parameters of a mixture; inverse of `constrained` where variances exceed floor."""
    lower, floor = factors(mixture.covariances), jnp.sqrt(floor)
    log = lambda std: jnp.log(jnp.maximum(std - floor, 1e-3 * std))
    if lower.ndim == 3:
        diagonal = jnp.diagonal(lower, axis1=1, axis2=2)
        raw = jnp.tril(lower, -1) + jax.vmap(jnp.diag)(log(diagonal))
    else:
        raw = log(lower)
    return FreeMixture(jnp.log(mixture.weights), mixture.means, raw)


def lower_factors(params: FreeMixture, floor: float | Array) -> Float[Array, "K D *D"]:
    """Cholesky factors [K, D, D] or standard deviations [K, D], at least sqrt(floor)."""
    raw, floor = params.factors, jnp.sqrt(floor)
    if raw.ndim == 2:
        return jnp.exp(raw) + floor
    diagonal = jnp.exp(jnp.diagonal(raw, axis1=1, axis2=2)) + floor
    return jnp.tril(raw, -1) + jax.vmap(jnp.diag)(diagonal)


def constrained(params: FreeMixture, floor: float | Array) -> Mixture:
    """The mixture of some parameters: softmax weights, C = L L^T."""
    lower = lower_factors(params, floor)
    if lower.ndim == 2:
        covariances = lower**2
    else:
        covariances = jnp.matmul(lower, lower.swapaxes(1, 2), precision="highest")
    return Mixture(jax.nn.softmax(params.logits), params.means, covariances)


def mean_log_prob(
    params: FreeMixture, x: Float[Array, "N D"], floor: float | Array
) -> Float[Array, ""]:
    """Mean log p in nats per point, without forming or factoring a covariance."""
    inverses = inverse_factors(lower_factors(params, floor))
    w = Whitening(jax.nn.log_softmax(params.logits), params.means, inverses)
    return logsumexp(log_joint(w, x.T)[0], axis=0).mean()


def _fit(key, x, start, epsilon, *, k, covariance, steps, batch_size, optimizer=None) -> Fit:
    optimizer = optimizer or optax.adam(optax.cosine_decay_schedule(0.05, steps))
    key_start, key_batches = jax.random.split(key)
    x, unit = standardise(x)
    floor = variance_floor(x, epsilon)
    first = start_mixture(key_start, x, k, covariance, floor) if start is None else unit.of(start)
    params = free(first, floor)

    def update(carry, key):
        params, moments = carry
        batch = x if batch_size is None else x[jax.random.randint(key, (batch_size,), 0, len(x))]
        loss = lambda params: -mean_log_prob(params, batch, floor)
        value, gradient = jax.value_and_grad(loss)(params)
        return apply_gradient(optimizer, gradient, moments, params, value, loss), -value

    keys = jax.random.split(key_batches, steps)
    (params, _), values = jax.lax.scan(update, (params, start_moments(optimizer, params)), keys)
    fit = Fit(constrained(params, floor), values, jnp.int32(steps), jnp.array(False), jnp.int32(0))
    return unit.undo(fit)


_fit_by_adam = jax.jit(_fit, static_argnames=("k", "covariance", "steps", "batch_size"))


@no_type_check
def fit_gradient(
    key: Key[Array, ""],
    x: Num[Array | np.ndarray, "N D"],
    k: int,
    *,
    covariance: str = "full",
    epsilon: float = 1e-6,
    steps: int = 500,
    batch_size: int | None = None,
    optimizer: optax.GradientTransformation | None = None,
    start: Mixture | None = None,
) -> Fit:
    """Fit k components by gradient descent on -log p from k-means++ centres.

    Args:
      covariance: "full" or "diagonal".
      epsilon: no variance falls below this share of the data's variance in its dimension.
      batch_size: points per step, drawn with replacement; all of them if not given.
      optimizer: optax's; it sees data of unit scale. By default Adam, 0.05 falling to 0.
      start: begin here instead.
    Raises as `fit_em`; `log_likelihoods` are those of the batches, `converged` is always False.
    Calls without an optimizer compile once; another one is compiled at each call.
    """
    check_range("steps", steps, 1, integer=True)
    if batch_size is not None:
        batch_size = int(check_range("batch_size", batch_size, 1, integer=True))
    key, x = as_key("key", key), checked_points(x, k, covariance, epsilon)
    start = None if start is None else checked_start(start, k, x)
    options = {"k": int(k), "covariance": covariance, "steps": int(steps), "batch_size": batch_size}
    given = key, x, start, jnp.asarray(epsilon, x.dtype)
    if optimizer is None:
        fit = _fit_by_adam(*given, **options)
    else:  # may read what changes between calls: its program is not held
        fit = jax.jit(partial(_fit, optimizer=optimizer, **options))(*given)
    last = fit.log_likelihoods[-1]
    if not isinstance(last, jax.core.Tracer) and not jnp.isfinite(last):
        raise NumericalError("the log-likelihood diverged: give a smaller learning rate")
    return fit
