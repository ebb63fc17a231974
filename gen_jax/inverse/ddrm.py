"""Denoising diffusion restoration models (kawar2022, eq. 7, 8): DDIM in A's singular coordinates.

In y = x / alpha, sig = sigma / alpha, and for each singular value s of A, with what it measures in
units of x, m = (U^H y) / s of noise level n = noise_std / s, and d the denoised point:

    s = 0:          d + sig_s (sqrt(1 - eta^2) e + eta z),            e = (x - d) / sig_t
    sig_s < n:      d + sig_s (sqrt(1 - eta^2) (m - d) / n + eta z)
    sig_s >= n:     (1 - eta_b) d + eta_b m + sqrt(sig_s^2 - eta_b^2 n^2) z
"""

import jax.numpy as jnp
from jax.typing import ArrayLike

from gen_jax.checks import no_type_check
from gen_jax.diffusion.sampler import Stepper, call
from gen_jax.errors import check_range
from gen_jax.inverse.measurements import check_noise, checked_linear, measurements
from gen_jax.inverse.operators import LinearOperator, Operator
from gen_jax.randomness import normal


@no_type_check
def ddrm(
    operator: LinearOperator | Operator,
    y: ArrayLike,
    noise_std: float,
    eta: float = 0.85,
    eta_b: float = 1.0,
) -> Stepper:
    """A stepper that draws from the posterior of y = A x0 + noise; one network call per step.

    Args:
      y: measurements [B, *measured], or one [*measured] for all samples.
      eta: share of fresh noise where y is no use. It replaces what x_t says about x0 beyond the
        denoised point, so that above 0 the unmeasured part varies too little.
      eta_b: weight of y where it is less noisy than the level of arrival.
    Raises ConfigError for an operator that is not linear, and values that cannot be.
    """
    linear = checked_linear("ddrm", operator)
    check_noise(noise_std)
    check_range("eta", eta, 0, 1)
    check_range("eta_b", eta_b, 0, 1)
    values, to, back = linear.spectrum

    def coordinates(x):
        """V^H x in the coordinates of the measurement, where s > 0."""
        s = values.astype(x.dtype)
        return jnp.where(s > 0, to(linear.apply(x)) / jnp.where(s > 0, s, 1), 0)

    def image(c, dtype):
        """V c, the part of an image that is measured."""
        s = values.astype(dtype)
        return linear.adjoint(back(jnp.where(s > 0, c / jnp.where(s > 0, s, 1), 0)).astype(dtype))

    def step(keys, denoise, path, x, carry, transition):
        now, arrival = transition.now, transition.next
        dtype = x.dtype
        level = (arrival.sigma / arrival.alpha).astype(dtype)
        x0 = call(denoise, x, transition.t)
        eps = (x - now.alpha.astype(dtype) * x0) / now.sigma.astype(dtype)
        noise = normal(keys, x.shape[1:], dtype)
        free = x0 + level * (jnp.sqrt(1 - eta**2) * eps + eta * noise)
        s = jnp.where(values > 0, values, 1).astype(dtype)
        measured = to(measurements(operator, y, x)) / s
        known, fresh = coordinates(x0), coordinates(noise)
        n = noise_std / s
        gap = (measured - known) / jnp.where(n > 0, n, 1)
        poor = known + level * (jnp.sqrt(1 - eta**2) * gap + eta * fresh)
        spread = jnp.sqrt(jnp.maximum(level**2 - (eta_b * n) ** 2, 0))
        good = (1 - eta_b) * known + eta_b * measured + spread * fresh
        chosen = jnp.where(level < n, poor, good)
        moved = free + image(chosen - coordinates(free), dtype)
        return arrival.alpha.astype(dtype) * moved, carry

    return Stepper(step, grid="karras", stochastic=True)
