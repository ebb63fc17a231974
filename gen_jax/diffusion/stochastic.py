"""Samplers that simulate the reverse SDE or use Langevin dynamics at fixed noise levels.

Generation with any diffusion rate w(t) >= 0 (song2021 eq. 6 at w = g^2, albergo2023 in general):

    dX = [u - (w / 2) S] dt + sqrt(w) dB,   dt < 0,   S the score: all rates share the marginals.

Langevin steps here have drift d S and noise sqrt(2 d), the same d.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.diffusion.ddim import ancestral
from gen_jax.diffusion.sampler import Stepper, call
from gen_jax.errors import check_range
from gen_jax.parameterisations import Coefficients, convert
from gen_jax.randomness import fold_in, normal
from gen_jax.types import Array, Float


def bounded_rate(c: Coefficients) -> Float[Array, "..."]:
    """w = alpha g^2 = 2 sigma (alpha sigma' - alpha' sigma): finite at both ends of every path."""
    return 2 * c.sigma * (c.alpha * c.d_sigma - c.d_alpha * c.sigma)


def score_sde_rate(c: Coefficients) -> Float[Array, "..."]:
    """w = g^2, the rate of the noising SDE (song2021); infinite where alpha = 0."""
    return bounded_rate(c) / c.alpha


def euler_maruyama(rate: Callable[[Coefficients], Array] = bounded_rate) -> Stepper:
    """Euler-Maruyama for the reverse SDE with diffusion rate `rate(coefficients) -> w`."""

    def step(keys, denoise, path, x, carry, transition):
        x0 = call(denoise, x, transition.t)
        u = convert(x0, x, transition.now, "x0", "velocity")
        score = convert(x0, x, transition.now, "x0", "score")
        w, dt = rate(transition.now), transition.s - transition.t
        noise = normal(keys, x.shape[1:], x.dtype)
        moved = x + (u - 0.5 * w * score) * dt + jnp.sqrt(-w * dt) * noise
        return jnp.where(transition.last, x0, moved), carry

    return Stepper(step, stochastic=True)


def predictor_corrector(
    predictor: Stepper | None = None, corrections: int = 1, snr: float = 0.16
) -> Stepper:
    """Predictor-corrector (song2021, algorithms 4-5): a step, then Langevin at the new level.

    The Langevin step is d = 2 k (snr sigma)^2, k = (alpha_t / alpha_s)^2: the paper's
    2 k (snr |z| / |S|)^2 with sigma in place of the batch average of |z| / |S|, so that examples do
    not depend on one another. The predictor is DDPM's ancestral step unless given; there are
    1 + corrections calls a step.
    """
    predictor = predictor or ancestral()
    check_range("corrections", corrections, 1, integer=True)
    check_range("snr", snr, 0, open_low=True)

    def step(keys, denoise, path, x, carry, transition):
        x, carry = predictor.step(fold_in(keys, 0), denoise, path, x, carry, transition)
        k = (transition.now.alpha / transition.next.alpha) ** 2
        d = 2 * k * (snr * transition.next.sigma) ** 2

        def correct(i, x):
            x0 = call(denoise, x, transition.s)
            score = convert(x0, x, transition.next, "x0", "score")
            noise = normal(fold_in(keys, i + 1), x.shape[1:], x.dtype)
            return x + d * score + jnp.sqrt(2 * d) * noise

        def corrected(x):
            return jax.lax.fori_loop(0, corrections, correct, x)

        return jax.lax.cond(transition.last, lambda x: x, corrected, x), carry

    return Stepper(step, predictor.init, predictor.grid, stochastic=True)


def annealed_langevin(num_inner: int = 5, step_size: float = 0.2) -> Stepper:
    """Annealed Langevin dynamics (song2019, algorithm 1), denoised at the end (song2020).

    At each new level, with x / alpha carried over, `num_inner` steps of size d = step_size sigma^2
    (the paper's alpha / 2).
    """
    check_range("num_inner", num_inner, 1, integer=True)
    check_range("step_size", step_size, 0, 1, open_low=True)

    def step(keys, denoise, path, x, carry, transition):
        a, s = transition.next.alpha, transition.next.sigma
        previous = transition.now.alpha

        def langevin(i, x):
            x0 = call(denoise, x, transition.s)
            noise = normal(fold_in(keys, i), x.shape[1:], x.dtype)
            return x + step_size * (a * x0 - x) + jnp.sqrt(2 * step_size) * s * noise

        def anneal(x):
            # From pure noise, alpha = 0, there is nothing to carry over.
            scale = jnp.where(previous == 0, 1.0, a / jnp.where(previous == 0, 1.0, previous))
            return jax.lax.fori_loop(0, num_inner, langevin, scale * x)

        def finish(x):
            return call(denoise, x, transition.t)

        return jax.lax.cond(transition.last, finish, anneal, x), carry

    return Stepper(step, grid="log_snr", stochastic=True)
