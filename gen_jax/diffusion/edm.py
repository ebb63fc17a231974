"""Heun's method in the EDM variables, with optional churn (karras2022, algorithms 1 and 2).

In y = x / alpha, sig = sigma / alpha the probability flow is dy / dsig = E = (y - D) / sig. The
predictor is DDIM's line; the corrector averages E at both ends. 2 n - 1 network calls for n steps:
the last step returns the denoised point, so that a grid should end close to the data.
"""

import jax
import jax.numpy as jnp

from gen_jax.diffusion.ddim import ddim_line
from gen_jax.diffusion.sampler import Stepper, Transition, call
from gen_jax.errors import check_range
from gen_jax.paths import coefficients, time_of_log_snr
from gen_jax.randomness import normal


def _heun_step(denoise, x, transition: Transition):
    """One predictor-corrector step; first order at the data and where alpha_t = 0."""
    now, next_ = transition.now, transition.next
    x0 = call(denoise, x, transition.t)
    predicted = ddim_line(x, x0, transition, 0.0, 0.0)

    def correct(predicted):
        eps = (x - now.alpha * x0) / now.sigma
        x0_next = call(denoise, predicted, transition.s)
        eps_next = (predicted - next_.alpha * x0_next) / next_.sigma
        # At alpha_t = 0 the noise level is infinite and the average over the step has no meaning.
        safe_alpha = jnp.where(now.alpha == 0, 1.0, now.alpha)
        change = next_.sigma - next_.alpha * now.sigma / safe_alpha
        return predicted + jnp.where(now.alpha == 0, 0.0, change) * (eps_next - eps) / 2

    return jax.lax.cond(transition.last, lambda p: p, correct, predicted)


def _churned(keys, path, x, transition, churn, s_min, s_max, s_noise):
    """Raise the noise level by the factor 1 + gamma inside [s_min, s_max], at most to t = 1."""
    now = transition.now
    level = now.sigma / now.alpha
    top = path.sigma(jnp.ones_like(level)) / path.alpha(jnp.ones_like(level))
    gamma = jnp.minimum(churn / transition.count, jnp.sqrt(2.0) - 1)
    active = (level >= s_min) & (level <= s_max) & (level < top)
    raised = jnp.where(active, jnp.minimum(level * (1 + gamma), top), level)
    t = jnp.where(active, time_of_log_snr(path, -2 * jnp.log(raised)), transition.t)
    new = coefficients(path, t)
    added = jnp.sqrt(jnp.maximum(new.sigma**2 - (now.sigma * new.alpha / now.alpha) ** 2, 0))
    noise = s_noise * normal(keys, x.shape[1:], x.dtype)
    noised = x * new.alpha / now.alpha + added * noise
    moved = transition._replace(t=t, now=new)
    keep = lambda old, changed: jnp.where(active, changed, old)
    return keep(x, noised), jax.tree.map(keep, transition, moved)


def edm(
    churn: float = 0.0, s_min: float = 0.0, s_max: float = float("inf"), s_noise: float = 1.0
) -> Stepper:
    """karras2022's sampler: Heun's method after raising the noise level by fresh noise.

    Args:
      churn: S_churn; the level is raised by gamma = min(churn / n, sqrt(2) - 1) in each of n steps.
      s_min, s_max: noise levels sigma / alpha between which churn acts.
      s_noise: scale of the added noise.
    """
    check_range("churn", churn, 0)
    check_range("s_min", s_min, 0)
    check_range("s_max", s_max, s_min)
    check_range("s_noise", s_noise, 0)

    def step(keys, denoise, path, x, carry, transition):
        if churn > 0:
            x, transition = _churned(keys, path, x, transition, churn, s_min, s_max, s_noise)
        return _heun_step(denoise, x, transition), carry

    return Stepper(step, grid="karras", stochastic=churn > 0)


def edm_heun() -> Stepper:
    """Deterministic Heun in (y, sig) (karras2022, algorithm 1); second order, 2 n - 1 calls.

    On its own Karras grid it is useless below 20 calls: the corrector leaps over noise levels that
    differ by a factor of ten. `heun` is the same method on dx / dt. On a grid uniform in t its last
    step, to the denoised point, is far too long: vp, modes of deviation 0.1 and 40 calls leave
    the variance inside the modes 73 % too small.
    """
    return edm(churn=0.0)
