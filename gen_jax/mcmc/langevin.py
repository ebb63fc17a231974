"""Unadjusted Langevin: x' = x + h grad log p(x) + sqrt(2 h) z.

The Euler-Maruyama step of dX = grad log p(X) dt + sqrt(2) dB. Without an accept step it keeps
another density: for N(m, v) it converges to N(m, v / (1 - h / (2 v))), and diverges for h > 2 v.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gen_jax.mcmc.checks import StepSize, check_step_size, steps_of
from gen_jax.mcmc.kernel import Kernel, Proposal, metropolis_kernel


def langevin(log_density: Callable, step_size: StepSize, *, scale: Any = None) -> Kernel:
    """Unadjusted Langevin, drift h grad and noise sqrt(2 h) (roberts1996 eq. 2 with h = t / 2).

    A step to a point where the density is 0, or not valid, is not made.

    Args:
      log_density: `x [B, ...] -> [B]`, in nats, up to a constant.
      step_size: h > 0, one number or one per chain [B]; a variance in the units of x / scale.
      scale: of the coordinates, in the form of one chain's x, or 1: steps are made in x / scale.
    Raises ConfigError for a step size or a scale that is not positive.
    """
    check_step_size(step_size)

    def propose(evaluate, flat, state, z):
        h = steps_of(step_size, flat)[:, None]
        y = flat + h * state.gradient + jnp.sqrt(2 * h) * z
        values, gradient = evaluate(y)
        return Proposal(y, values, gradient, jnp.zeros_like(values))

    return metropolis_kernel(log_density, propose, scale=scale)
