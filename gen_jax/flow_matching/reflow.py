"""Rectified flow by rounds (liu2023): train again on the pairs that the last flow connects."""

import jax
import jax.numpy as jnp

from gen_jax.diffusion.sampler import Stepper, prior, sample
from gen_jax.errors import ConfigError
from gen_jax.paths import GaussianPath, velocity
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.solvers.ode import integrate
from gen_jax.types import Array, Denoiser, Float, Key


def straightness(
    denoise: Denoiser,
    path: GaussianPath,
    x1: Float[Array, "B ..."],
    times: Float[Array, " times"],
) -> Float[Array, "B"]:
    """int |(x1 - x0) - dx/dt|^2 dt along each trajectory from x1 to its end x0 (liu2023, eq. 5).

    0 for straight lines of constant speed, which one Euler step follows exactly. Meant for the
    linear path. The squared norm is summed over dimensions; the integral is a trapezoidal sum.

    Args:
      times: falling from 1 to 0, [n + 1]; fine enough for RK4.
    """
    field = velocity(denoise, path)
    # At t = 0 the velocity of a denoiser is 0 / 0.
    smallest = jnp.finfo(times.dtype).eps ** 0.5
    at_time = lambda x, t: field(x, jnp.full(x.shape[:1], jnp.maximum(t, smallest)))
    states = integrate(at_time, x1, times, method="rk4", trajectory=True)
    line = states[0] - states[-1]
    axes = tuple(range(1, x1.ndim))
    gap = lambda at: jnp.sum((line - at_time(*at)) ** 2, axis=axes)
    gaps = jax.lax.map(gap, (states, times))
    widths = -jnp.diff(times)[:, None]
    return jnp.sum(0.5 * (gaps[1:] + gaps[:-1]) * widths, axis=0)


def reflow_pairs(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    shape: tuple[int, ...],
    times: Float[Array, " times"],
    stepper: Stepper,
) -> tuple[Float[Array, "B ..."], Float[Array, "B ..."]]:
    """(x0, x1) [B, ...]: noise x1 and the sample x0 that the deterministic flow makes of it.

    Draw them once, keep them together, and train `flow_matching` with `coupling=None` on them.

    Args:
      shape: (B, ...); key: one key, or one per pair [B].
    Raises ConfigError for a stochastic stepper: its pairs do not belong together.
    """
    if stepper.stochastic:
        raise ConfigError("stepper must be deterministic: noise on the way unties the pairs")
    keys = sample_keys(key, shape[0])
    x1 = prior(fold_in(keys, 0), path, shape)
    x0 = sample(fold_in(keys, 1), denoise, path, x1, times, stepper)
    return x0, x1  # type: ignore[return-value]
