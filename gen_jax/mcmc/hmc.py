"""Hamiltonian Monte Carlo: x moves with a random momentum along a leapfrog trajectory.

H(x, p) = -log p(x) + |p|^2 / 2. Leapfrog keeps volume, is reversible and loses H only by
O(step_size^2), so that its end is accepted with probability min(1, exp(H(start) - H(end))).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.mcmc.checks import StepSize, check_step_size
from gen_jax.mcmc.kernel import Kernel, Proposal, metropolis_kernel
from gen_jax.paths import expand
from gen_jax.types import Array, Float


def leapfrog(
    evaluate: Callable,
    x: Float[Array, "B D"],
    momentum: Float[Array, "B D"],
    gradient: Float[Array, "B D"],
    step_size: StepSize,
    num_steps: int,
) -> tuple[Array, Array, Array, Array]:
    """(x, momentum, log-densities [B], gradients [B, D]) after `num_steps` leapfrog steps.

    Half a kick, then in turns drift and kick, the last kick half (neal2011 fig. 2): one gradient
    per step.

    Args:
      evaluate: `x -> (log-densities [B], gradients [B, D])`.
      gradient: of the log-density at x.
    """
    h = expand(jnp.asarray(step_size, x.dtype), x)

    def drift_and_kick(_, carry):
        x, momentum = carry
        x = x + h * momentum
        return x, momentum + h * evaluate(x)[1]

    start = (x, momentum + h / 2 * gradient)
    x, momentum = jax.lax.fori_loop(0, num_steps - 1, drift_and_kick, start)
    x = x + h * momentum
    values, gradient = evaluate(x)  # only here is the density itself needed
    return x, momentum + h / 2 * gradient, values, gradient


def hmc(log_density: Callable, step_size: StepSize, num_steps: int) -> Kernel:
    """Hamiltonian Monte Carlo with unit mass and a fixed number of steps (neal2011 sec. 5.3).

    About 0.65 accepted is best for many independent dimensions (beskos2013).

    Args:
      log_density: `x [B, ...] -> [B]`, in nats, up to a constant.
      step_size: h > 0, one number or one per chain [B], in the units of x; stable below twice the
        smallest standard deviation of a Gaussian.
      num_steps: leapfrog steps per trajectory, one gradient each.
    Raises ConfigError for a step size that is not positive or less than one step.
    """
    check_step_size(step_size)
    check_range("num_steps", num_steps, 1, integer=True)

    def propose(evaluate, flat, state, z):
        y, momentum, values, gradient = leapfrog(
            evaluate, flat, z, state.gradient, step_size, num_steps
        )
        kinetic = 0.5 * jnp.sum(momentum**2 - z**2, 1)
        return Proposal(y, values, gradient, values - state.log_density - kinetic)

    return metropolis_kernel(log_density, propose, evaluations=num_steps)
