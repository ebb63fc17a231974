"""Random-walk Metropolis: a Gaussian step, accepted by the ratio of the densities."""

from collections.abc import Callable
from typing import Any

from gen_jax.mcmc.checks import StepSize, check_step_size, steps_of
from gen_jax.mcmc.kernel import Kernel, Proposal, metropolis_kernel


def random_walk(log_density: Callable, step_size: StepSize, *, scale: Any = None) -> Kernel:
    """Proposal x + s z, symmetric, so accepted by p(y) / p(x) (metropolis1953); no gradient.

    About 0.234 accepted is best for many independent dimensions, 0.44 for one (roberts1997).

    Args:
      log_density: `x [B, ...] -> [B]`, in nats, up to a constant.
      step_size: s > 0, one number or one per chain [B]; a standard deviation in units of x / scale.
      scale: of the coordinates, in the form of one chain's x, or 1: steps are made in x / scale.
    Raises ConfigError for a step size or a scale that is not positive.
    """
    check_step_size(step_size)

    def propose(evaluate, flat, state, z):
        y = flat + steps_of(step_size, flat)[:, None] * z
        values, _ = evaluate(y)
        return Proposal(y, values, None, values - state.log_density)

    return metropolis_kernel(log_density, propose, gradient=False, scale=scale)
