"""DPM-Solver++ (lu2023): the DDIM line with the denoised point extrapolated in log-SNR.

    Dbar = D_t + (D_t - D_prev) h / (2 h_prev),   h the rise of log(alpha / sigma) in a step.

eta = 0 is the 2M solver of the probability-flow ODE (algorithm 2), eta = 1 its SDE form.
The first and the last step are first order.
"""

from typing import Literal

import jax.numpy as jnp

from gen_jax.diffusion.ddim import ddim, ddim_line
from gen_jax.diffusion.sampler import Stepper, call
from gen_jax.errors import check_choice, check_range
from gen_jax.model import normal


def dpm_solver_pp(order: Literal[1, 2] = 2, eta: float = 0.0) -> Stepper:
    """Multistep DPM-Solver++ of order 1 (which is DDIM) or 2; one network call per step.

    Meant for a grid uniform in log-SNR: on a grid uniform in t the second-order extrapolation
    overshoots at the clean end.
    """
    check_choice("order", str(order), ("1", "2"))
    check_range("eta", eta, 0, 1)
    if order == 1:
        return ddim(eta)._replace(grid="log_snr")

    def step(keys, denoise, path, x, carry, transition):
        previous, half_log_snr_previous = carry
        x0 = call(denoise, x, transition.t)
        half_log_snr = jnp.log(transition.now.alpha / transition.now.sigma)
        h = jnp.log(transition.next.alpha / transition.next.sigma) - half_log_snr
        ratio = h / (2 * (half_log_snr - half_log_snr_previous))
        first_order = (transition.index == 0) | transition.last
        extrapolated = x0 + jnp.where(first_order, 0.0, ratio) * (x0 - previous)
        noise = normal(keys, x.shape[1:], x.dtype) if eta > 0 else 0.0
        x = ddim_line(x, extrapolated, transition, eta, noise)
        return x, (x0, half_log_snr)

    def init(x):
        return jnp.zeros_like(x), jnp.zeros((), x.dtype)

    return Stepper(step, init, grid="log_snr", stochastic=eta > 0)
