"""The Metropolis-adjusted Langevin algorithm: a Langevin step, accepted so that p is kept."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gen_jax.mcmc.checks import StepSize, check_step_size, steps_of
from gen_jax.mcmc.kernel import Kernel, Proposal, metropolis_kernel


def mala(log_density: Callable, step_size: StepSize, *, scale: Any = None) -> Kernel:
    """Proposal y = x + h grad log p(x) + sqrt(2 h) z, then accept or stay (roberts1996 sec. 1.4).

    log q(x -> y) = -|y - x - h grad log p(x)|^2 / (4 h). About 0.574 accepted is best for many
    independent dimensions (roberts1998).

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
        # Both exponents over their common scale: the noise that would have led back, and z.
        back = -z - jnp.sqrt(h / 2) * (state.gradient + gradient)
        hastings = 0.5 * jnp.sum(z**2 - back**2, 1)
        return Proposal(y, values, gradient, values - state.log_density + hastings)

    return metropolis_kernel(log_density, propose, scale=scale)
