"""Exact likelihood by the probability-flow ODE (song2021, section 4.3; chen2018).

Along dx / dt = u(x, t): d log p_t(x_t) / dt = -div u, so that

    log p_0(x_0) = log p_1(x_1) + integral over t from 0 to 1 of div u.

Integration starts a little above t = 0, at noise level SIGMA_MIN of the grids: the result is the
density of data with that much noise.
"""

import jax
import jax.numpy as jnp

from gen_jax.diffusion.grids import karras
from gen_jax.errors import check_choice
from gen_jax.model import sample_keys
from gen_jax.paths import GaussianPath, velocity
from gen_jax.solvers.divergence import DIVERGENCES
from gen_jax.solvers.ode import integrate
from gen_jax.types import Array, Denoiser, Float, Key


def ode_log_prob(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    *,
    steps: int = 64,
    method: str = "rk4",
    divergence: str = "exact",
    times: Float[Array, " times"] | None = None,
    data_std: float = 1.0,
) -> Float[Array, "B"]:
    """log p(x0) in nats, in the units of x0, by a fixed-step solver on the Karras grid.

    Args:
      key: one key, or one per example [B]; draws one Rademacher probe per trajectory.
      steps: solver steps; network calls are this times the stages of `method`.
      divergence: "exact" (D jvps per evaluation) or "hutchinson" (one jvp, unbiased).
      times: rising times from near 0 to 1 instead of the Karras grid.
      data_std: the end point is scored by N(0, sigma(1)^2 + alpha(1)^2 data_std^2).
    """
    measure = DIVERGENCES[check_choice("divergence", divergence, DIVERGENCES)]
    draw = lambda key: jax.random.rademacher(key, x0.shape[1:], x0.dtype)
    probe = jax.vmap(draw)(sample_keys(key, x0.shape[0]))
    field = velocity(denoise, path)
    times = karras(path, steps + 1)[-2::-1] if times is None else times
    times = jnp.asarray(times, x0.dtype)

    def augmented(state, t):
        x = state[0]
        at_time = lambda x: field(x, jnp.full(x.shape[:1], t, x.dtype))
        return measure(at_time, x, probe)

    # x_t at the first time, without its noise, is alpha x0: log p(x0) gains D log alpha.
    alpha = path.alpha(times[0])
    start = (alpha * x0, jnp.zeros(x0.shape[:1], x0.dtype))
    x1, integral = integrate(augmented, start, times, method=method)
    end = times[-1]
    variance = path.sigma(end) ** 2 + (path.alpha(end) * data_std) ** 2
    log_normal = jax.scipy.stats.norm.logpdf(x1, scale=jnp.sqrt(variance))
    prior = jnp.sum(log_normal, axis=tuple(range(1, x0.ndim)))
    return prior + integral + x0[0].size * jnp.log(alpha)
