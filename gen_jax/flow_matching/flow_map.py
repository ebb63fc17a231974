"""Flow maps: where the probability-flow ODE carries x from time t to any earlier time s.

A map is learnt as an average velocity U (geng2025, boffi2025):

    X(x, t, s) = x + (s - t) U(x, t, s),   U(x, t, t) = dx / dt,   X(x, t, t) = x by construction.

So a few-step model is also a denoiser (`denoiser`), and one more stepper (`jump`).
"""

import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.calls import called
from gen_jax.checks import no_type_check, same_shape
from gen_jax.diffusion.sampler import Stepper
from gen_jax.diffusion.time_sampling import off_the_steep
from gen_jax.errors import check_range
from gen_jax.parameterisations import convert
from gen_jax.paths import GaussianPath, as_path, coefficients, log_snr, time_of_log_snr
from gen_jax.randomness import normal
from gen_jax.types import Array, AverageVelocity, Denoiser, Float, FlowMap


def flow_map(average: AverageVelocity) -> FlowMap:
    """X(x, t, s) = x + (s - t) U(x, t, s). Raises ConfigError for U of another shape than x."""
    average = same_shape("average", average)

    def jumped(x, t, s):
        return x + expand(s - t, x).astype(x.dtype) * average(x, t, s)

    return jumped


def denoiser(average: AverageVelocity, path: GaussianPath) -> Denoiser:
    """E[x0 | x_t] from the velocity U(x, t, t), for likelihoods, guidance and all steppers."""
    average = same_shape("average", average)

    def denoise(x, t):
        c = coefficients(path, off_the_steep(path, t))
        return convert(average(x, t, t), x, c, "velocity", "x0")

    return denoise


def jump(flow_map: FlowMap, gamma: float = 0.0) -> Stepper:
    """A stepper that jumps with a flow map; one network call per step (kim2024, algorithm 4).

    gamma = 0 jumps from t to s. gamma = 1 jumps to the data and adds the noise of level s
    (consistency sampling, song2023cm, algorithm 1). In between, the jump ends at the time r with
    sigma_r / alpha_r = sqrt(1 - gamma^2) sigma_s / alpha_s, and noise carries it from r back to s.
    The transition to the data adds none. The `denoise` given to `sample` is not called.
    Raises ConfigError for gamma outside [0, 1].
    """
    check_range("gamma", gamma, 0, 1)
    flow_map = same_shape("flow_map", flow_map)

    def step(keys, denoise, path, x, carry, transition):
        batch = lambda t: jnp.full(x.shape[:1], t)
        if gamma == 0:
            moved = called(flow_map(x, batch(transition.t), batch(transition.s)))
            # x_0 of a path that scales the data is alpha x0.
            scale = jnp.where(transition.last, path.alpha(transition.s), 1.0)
            return moved / scale.astype(x.dtype), carry
        kept = jnp.log1p(-(gamma**2)) if gamma < 1 else -jnp.inf
        r = time_of_log_snr(path, log_snr(path, transition.s) - kept) if gamma < 1 else 0.0
        r = jnp.where(transition.last, transition.s, r)
        moved = called(flow_map(x, batch(transition.t), batch(r)))
        arrival = transition.next
        ratio = arrival.alpha / path.alpha(r)
        added = jnp.sqrt(jnp.maximum(arrival.sigma**2 - (ratio * path.sigma(r)) ** 2, 0))
        noise = normal(keys, x.shape[1:], x.dtype)
        return ratio.astype(x.dtype) * moved + added.astype(x.dtype) * noise, carry

    return Stepper(step, stochastic=gamma > 0, calls_denoiser=False)


@no_type_check
@shaped("t")
def conditional(
    path: GaussianPath, x0: Float[Array, "B *D"], x1: Float[Array, "B *D"], t: Float[Array, "B"]
) -> tuple[Float[Array, "B ..."], Float[Array, "B ..."]]:
    """x_t = alpha x0 + sigma x1 and its velocity alpha' x0 + sigma' x1: what losses regress on.

    Both at a later time, T_MIN, where the velocity at t is infinite: at t = 0 of vp. Raises
    ConfigError for x0 and x1 of different shapes, which would be repeated.
    """
    c = coefficients(path, off_the_steep(as_path(path), t))
    x_t = expand(c.alpha, x0) * x0 + expand(c.sigma, x0) * x1
    return x_t, expand(c.d_alpha, x0) * x0 + expand(c.d_sigma, x0) * x1


@no_type_check
def velocity_error(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    x1: Float[Array, "B ..."],
    t: Float[Array, "B"],
) -> Float[Array, "B"]:
    """|U(x_t, t, t) - u|^2 averaged over dimensions, u the pair's velocity: flow matching of the
    diagonal, which keeps it a denoiser."""
    x_t, u = conditional(path, x0, x1, t)
    return mean_square(average(x_t, t, t) - u)


def mean_square(difference: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Mean over all axes but the first."""
    return jnp.mean(difference**2, axis=tuple(range(1, difference.ndim)))
