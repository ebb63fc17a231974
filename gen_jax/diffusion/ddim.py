"""DDIM and ancestral sampling with its reverse variances.

With D = E[x0 | x_t], E = (x - alpha_t D) / sigma_t and h the rise of log(alpha / sigma):

    x_s = alpha_s D + sqrt(sigma_s^2 - rho^2) E + rho z,   rho = eta sigma_s sqrt(1 - exp(-2 h)).

eta = 0 is the deterministic DDIM (song2021ddim eq. 12), which is Euler's method for dy / dsig = E
in the EDM variables y = x / alpha, sig = sigma / alpha; eta = 1 is DDPM's posterior (ho2020 eq. 7).
"""

import jax.numpy as jnp

from gen_jax.diffusion.sampler import Stepper, Transition, call
from gen_jax.errors import check_choice, check_range
from gen_jax.randomness import normal
from gen_jax.types import Array, Float


def remaining_noise(transition: Transition) -> Float[Array, ""]:
    """exp(-h): the noise level sigma / alpha after the step over that before it; 0 at the data."""
    now, next_ = transition.now, transition.next
    return (next_.sigma * now.alpha) / (next_.alpha * now.sigma)


def ddim_line(
    x: Array, x0: Array, transition: Transition, eta: float, noise: Array | float
) -> Array:
    """The formula at the head of this file, for a given denoised point x0."""
    now, next_ = transition.now, transition.next
    eps = (x - now.alpha * x0) / now.sigma
    rho = eta * next_.sigma * jnp.sqrt(1 - remaining_noise(transition) ** 2)
    direction = jnp.sqrt(jnp.maximum(next_.sigma**2 - rho**2, 0))
    return next_.alpha * x0 + direction * eps + rho * noise


def ddim(eta: float = 0.0) -> Stepper:
    """DDIM with eta in [0, 1]: 0 deterministic, 1 DDPM's ancestral sampling. One call per step."""
    check_range("eta", eta, 0, 1)

    def step(keys, denoise, path, x, carry, transition):
        noise = normal(keys, x.shape[1:], x.dtype) if eta > 0 else 0.0
        x0 = call(denoise, x, transition.t)
        return ddim_line(x, x0, transition, eta, noise), carry

    return Stepper(step, stochastic=eta > 0)


def ancestral(variance: str = "posterior") -> Stepper:
    """DDPM's ancestral sampling: the posterior mean, with one of three reverse variances.

    With b = sigma_t^2 (1 - exp(-2 h)), which is beta_t on DDPM's grid:

    "posterior": beta-tilde = b exp(-2 h) alpha_s^2 / alpha_t^2, exact for one known data point
      (ho2020 eq. 7); `ddim(eta=1)`. On a variance-exploding path it is Cardoso, "Backward
      sampling", algorithm 4.
    "upper": b, exact for standard normal data (ho2020, section 3.2).
    "euler_maruyama": b alpha_s^2 / alpha_t^2, Euler-Maruyama in sigma^2: algorithm 3 of the same
      slides. Where alpha_t = 0 that is infinite, and the posterior variance is used.
    """
    check_choice("variance", variance, ("posterior", "upper", "euler_maruyama"))
    if variance == "posterior":
        return ddim(eta=1.0)

    def step(keys, denoise, path, x, carry, transition):
        now, next_ = transition.now, transition.next
        mean = ddim_line(x, call(denoise, x, transition.t), transition, 1.0, 0.0)
        std = now.sigma * jnp.sqrt(1 - remaining_noise(transition) ** 2)
        if variance == "euler_maruyama":
            bounded = jnp.where(now.alpha == 0, 1.0, now.alpha)
            std = jnp.where(now.alpha == 0, next_.sigma, std * next_.alpha / bounded)
        noise = normal(keys, x.shape[1:], x.dtype)
        return mean + jnp.where(transition.last, 0.0, std) * noise, carry

    return Stepper(step, stochastic=True)
