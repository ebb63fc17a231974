"""The exact flow map of a Gaussian mixture: the truth that few-step models are compared with."""

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.axes import expand
from gen_jax.diffusion.exact import mixture_means
from gen_jax.errors import check_range
from gen_jax.paths import GaussianPath
from gen_jax.solvers.ode import TABLEAUS, rk_step
from gen_jax.types import Array, Float, FlowMap


@floats(weights="K", means="K D", covariances="K D D")
def mixture_flow_map(
    weights: Float[Array, "K"],
    means: Float[Array, "K D"],
    covariances: Float[Array, "K D D"],
    path: GaussianPath,
    steps: int = 64,
) -> FlowMap:
    """`(x [B, D], t [B], s [B]) -> x_s`, by `steps` steps of RK4.

    With z = x / sqrt(alpha^2 + sigma^2) and the angle a = atan2(sigma, alpha) every path is
    z = cos(a) x0 + sin(a) eps, and dz / da = -sin(a) E[x0 | x] + cos(a) E[eps | x], which is finite
    at both ends of all paths.
    Raises ConfigError for steps below 1 and shapes that do not belong together.
    """
    check_range("steps", steps, 1, integer=True)
    posterior = mixture_means(weights, means, covariances)

    def slope(z, angle):
        a, s = jnp.cos(angle), jnp.sin(angle)
        x0, eps = jax.vmap(posterior)(z, a, s)
        return expand(a, z) * eps - expand(s, z) * x0

    def mapped(x, t, s):
        start, end = (jnp.arctan2(path.sigma(u), path.alpha(u)) for u in (t, s))
        step = (end - start) / steps
        radius = lambda u: expand(jnp.hypot(path.alpha(u), path.sigma(u)), x)
        # One step advances every example by its own angle.
        field = lambda z, i: expand(step, z) * slope(z, start + i * step)
        advance = lambda i, z: rk_step(TABLEAUS["rk4"], field, z, i.astype(z.dtype), 1.0)
        z = jax.lax.fori_loop(0, steps, advance, x / radius(t))
        return z * radius(s)

    return mapped
