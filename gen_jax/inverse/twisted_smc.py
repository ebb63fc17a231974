"""The twisted diffusion sampler (wu2023): sequential Monte Carlo with guided proposals.

The target is p(x_0, .., x_1) p(y | x_0) for DDPM's chain p, whose transition t -> s is
N(m(x_t, D), rho^2 I) with the posterior variance rho^2 (`ddim(eta=1)`). With a twist p~(y | x_t)
the proposal is the same transition with D + (sigma^2 / alpha) grad log p~ in place of D, and the
weight of a particle is multiplied by

    p(x_s | x_t) p~(y | x_s) / (q(x_s | x_t) p~(y | x_t)).

The transition to the data has no variance, so that it cannot be twisted: its weight is
p(y | x_0) / p~(y | x_t). The mean weight, multiplied up at each resampling, estimates p(y).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from gen_jax.axes import expand
from gen_jax.checks import as_key, as_times, is_known, no_type_check, per_point, same_shape
from gen_jax.compiled import by_trace
from gen_jax.diffusion.ddim import ddim_line, remaining_noise
from gen_jax.diffusion.sampler import call, transitions
from gen_jax.errors import ConfigError, check_range
from gen_jax.inverse.measurements import (
    check_noise,
    checked_linear,
    measurements,
    posterior_variance,
)
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.paths import GaussianPath, as_path, with_signal
from gen_jax.randomness import normal, sample_keys
from gen_jax.sampling.importance import resample
from gen_jax.solvers.ode import as_floating
from gen_jax.types import Array, Denoiser, Float, Key


class Particles(NamedTuple):
    """Weighted samples of p(x0 | y).

    Fields:
      x: [P, ...].
      log_weights: [P], normalised: their exponentials sum to 1.
      log_evidence: log p(y) in nats, [].
      ess: effective sample size before each resampling decision, [n], one per transition.
    """

    x: Float[Array, "P ..."]
    log_weights: Float[Array, "P"]
    log_evidence: Float[Array, ""]
    ess: Float[Array, "n"]


def systematic_resampling(key: Key[Array, ""], log_weights: Float[Array, "P"]) -> Array:
    """P indices, drawn with one uniform number (carpenter1999); weights need not be normalised."""
    return resample(jax.random.uniform(key), log_weights, len(log_weights))


@no_type_check
def gaussian_twist(
    denoise: Denoiser,
    path: GaussianPath,
    operator: LinearOperator | Operator,
    y: ArrayLike,
    noise_std: float,
    data_std: float = 1.0,
) -> Callable[[Array, Array], Float[Array, "P"]]:
    """log N(y; A D, noise_std^2 I + q^2 A A^T) of `twisted_smc`, up to a function of t.

    q^2 is Var[x0 | x_t] for data N(m, data_std^2 I), as in `pseudo_inverse_guidance`. The default
    twist has q = 0: where noise_std is small beside the data's deviation its weights have heavy
    tails, and single runs miss log p(y) by much more than their effective sample size suggests.
    Raises ConfigError for an operator that is not linear, y of another shape, and noise_std = 0.
    """
    path, linear = as_path(path), checked_linear("gaussian_twist", operator)
    check_noise(noise_std, data_std, positive=True)
    denoise = same_shape("denoise", denoise)

    def log_twist(x, t):
        residual = measurements(operator, y, x) - linear.apply(denoise(x, t))
        solved = linear.solve(residual, posterior_variance(path, t, data_std), noise_std**2)
        return -0.5 * jnp.sum(residual * solved, axis=tuple(range(1, residual.ndim)))

    return log_twist


def _at_width(function: Callable, dtype: Any, wide: Any) -> Callable:
    """A function of x in `dtype` as one of x in `wide`, which it returns."""
    return lambda x, *rest: function(x.astype(dtype), *rest).astype(wide)


def _functions(
    denoise: Callable, log_likelihood: Callable, log_twist: Any, dtype: Any, wide: Any
) -> tuple[Callable, Callable, Callable]:
    """Denoiser, likelihood and twist of particles in `wide`, with checked outputs."""
    network = same_shape("denoise", denoise)
    twist = log_twist or (lambda x, t: log_likelihood(network(x, t)))
    twist = per_point("log_twist" if log_twist else "log_likelihood", twist)
    likelihood = per_point("log_likelihood", log_likelihood)
    denoise, likelihood, twist = (_at_width(f, dtype, wide) for f in (network, likelihood, twist))
    return denoise, likelihood, twist


def _to_data(times: Array) -> Array:
    """`as_times`. Raises ConfigError for times that do not fall to 0, if known."""
    times = as_times(times)
    if is_known(times) and np.asarray(times)[-1] != 0:
        raise ConfigError(f"times must end at 0, the data, not at {np.asarray(times)[-1]}")
    return times


def twisted_smc(
    key: Key[Array, ""],
    denoise: Denoiser,
    path: GaussianPath,
    log_likelihood: Callable[[Array], Float[Array, "P"]],
    x: Float[Array, "P ..."],
    times: Float[Array, " times"],
    *,
    log_twist: Callable[[Array, Array], Float[Array, "P"]] | None = None,
    threshold: float = 0.5,
) -> Particles:
    """P particles of one posterior p(x0 | y); for many posteriors use `jax.vmap` over keys and x.

    Exact as P grows, for the prior that DDPM's chain on `times` has. The particles of one call
    depend on each other. A transition costs two calls of a network and one derivative, if the twist
    has a call.

    Args:
      log_likelihood: `x0 [P, ...] -> log p(y | x0)` [P] in nats.
      x: noise to start from, see `diffusion.prior`.
      log_twist: `(x_t, t [P]) -> log p~(y | x_t)` [P]; by default the likelihood of the denoised
        point (wu2023); for linear operators `gaussian_twist` is better. It decides how many
        particles are needed, not what they converge to, as long as it is finite: where the
        likelihood is 0 (-inf) at denoised points another one is needed.
      threshold: particles are resampled when the effective sample size is below this share of P.
    Between steps the particles are float32 (float64 under x64) or wider; functions are called with
    the dtype of x, which is also that of the result.
    Raises ConfigError for a threshold outside [0, 1], times that do not fall to 0, and functions
    whose output is not of the shape above.
    """
    key, path = as_key("key", key), as_path(path)
    check_range("threshold", threshold, 0, 1)
    times, x = _to_data(times), as_floating(x)
    dtype, wide = x.dtype, jnp.promote_types(x.dtype, times.dtype)
    functions = _functions(denoise, log_likelihood, log_twist, dtype, wide)
    run = lambda key, x, times: _particles(key, functions, path, x, times, threshold)
    found = by_trace(jax.jit(run))(key, x.astype(wide), times)
    return found._replace(x=found.x.astype(dtype))


def _particles(
    key: Array,
    functions: tuple[Callable, Callable, Callable],
    path: GaussianPath,
    x: Array,
    times: Array,
    threshold: float,
) -> Particles:
    """`twisted_smc` with checked functions."""
    (denoise, log_p, each), size = functions, x.shape[0]

    def evaluate(x, t):
        """log p~(y | x_t) [P], and how far it shifts D, both of one call."""
        x, t = with_signal(path, x, jnp.full((size,), t, times.dtype))
        twist, pull_back = jax.vjp(lambda x: each(x, t), x)
        factor = expand(path.sigma(t) ** 2 / path.alpha(t), x).astype(x.dtype)
        return twist, factor * pull_back(jnp.ones_like(twist))[0]

    def resampled(key, points, log_weights, evidence):
        def draw():
            index = systematic_resampling(key, log_weights)
            mean = logsumexp(log_weights) - jnp.log(size)
            picked = jax.tree.map(lambda a: a[index], points)
            return picked, jnp.zeros_like(log_weights), evidence + mean

        ess = jnp.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights))
        keep = lambda: (points, log_weights, evidence)
        return jax.lax.cond(ess < threshold * size, draw, keep), ess

    def body(carry, transition):
        key_index, key_noise = jax.random.split(jax.random.fold_in(key, transition.index))
        (points, log_weights, evidence), ess = resampled(key_index, *carry)
        x, twist, shift = points
        noise = normal(sample_keys(key_noise, size), x.shape[1:], x.dtype)
        plain = call(denoise, x, transition.t)
        guided = jnp.where(transition.last, plain, plain + shift)
        mean = ddim_line(x, plain, transition, 1.0, 0.0)
        x_new = ddim_line(x, guided, transition, 1.0, noise)
        rho = transition.next.sigma * jnp.sqrt(1 - remaining_noise(transition) ** 2)
        axes = tuple(range(1, x.ndim))
        standard = (x_new - mean) / jnp.where(rho > 0, rho, 1)
        proposal = 0.5 * jnp.sum(noise**2 - standard**2, axis=axes)
        reached, shift = jax.lax.cond(
            transition.last,
            lambda: (log_p(x_new), jnp.zeros_like(x_new)),
            lambda: evaluate(x_new, transition.s),
        )
        change = jnp.where(transition.last, 0.0, proposal) + reached - twist
        return ((x_new, reached, shift), log_weights + change, evidence), ess

    first, shift = evaluate(x, times[0])
    start = ((x, first, shift), first, jnp.zeros((), first.dtype))
    ((x, *_), log_weights, evidence), ess = jax.lax.scan(body, start, transitions(path, times))
    total = logsumexp(log_weights)
    return Particles(x, log_weights - total, evidence + total - jnp.log(size), ess)
