"""Hamiltonian Monte Carlo: x moves with a random momentum along a leapfrog trajectory.

H(x, p) = -log p(x) + |p|^2 / 2. Leapfrog keeps volume, is reversible and loses H only by
O(step_size^2), so that its end is accepted with probability min(1, exp(H(start) - H(end))).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.axes import expand
from gen_jax.errors import check_range
from gen_jax.mcmc.checks import StepSize, check_step_size, steps_of
from gen_jax.mcmc.kernel import Kernel, Proposal, metropolis_kernel
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


def hmc(
    log_density: Callable,
    step_size: StepSize,
    num_steps: int,
    *,
    jitter: float = 0.5,
    scale: Any = None,
) -> Kernel:
    """Hamiltonian Monte Carlo with diagonal mass and a fixed number of steps (neal2011 sec. 5.3).

    A trajectory as long as the target's period would come back to its start, accepted and without
    any gain: every proposal draws its own step, uniform on step_size (1 - jitter, 1 + jitter)
    (neal2011 sec. 5.4.2.2). The draw does not depend on the state, so detailed balance is kept.
    About 0.65 accepted is best for many independent dimensions (beskos2013).

    Args:
      log_density: `x [B, ...] -> [B]`, in nats, up to a constant.
      step_size: h > 0, one number or one per chain [B], in the units of x / scale; the mean of the
        steps; stable while the longest is below twice the smallest standard deviation of a
        Gaussian.
      num_steps: leapfrog steps per trajectory, one gradient each.
      jitter: half the relative width of the steps' range, in [0, 1]; with 0 all are equal. From
        0.5 on the angles of a Gaussian's period spread over all of it.
      scale: of the coordinates, in the form of one chain's x, or 1: the mass is 1 / scale^2.
    Raises ConfigError for a step size or a scale that is not positive, a jitter out of range, or
    less than one step.
    """
    check_step_size(step_size)
    check_range("num_steps", num_steps, 1, integer=True)
    check_range("jitter", jitter, 0, 1)

    def propose(evaluate, flat, state, z, *u):
        h = steps_of(step_size, flat)
        if u:
            h = h * (1 + jitter * (2 * u[0] - 1))
        y, momentum, values, gradient = leapfrog(evaluate, flat, z, state.gradient, h, num_steps)
        kinetic = 0.5 * jnp.sum(momentum**2 - z**2, 1)
        return Proposal(y, values, gradient, values - state.log_density - kinetic)

    uniforms = int(jitter > 0)
    return metropolis_kernel(
        log_density, propose, evaluations=num_steps, scale=scale, uniforms=uniforms
    )
