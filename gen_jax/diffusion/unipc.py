"""UniPC (zhao2023): DPM-Solver++ 2M, and a corrector that costs no network call of its own.

The network is called once per step, at the predicted x_t. That value D_t first corrects the step
that led to t, then predicts the next one. With h the rise of log(alpha / sigma) from t' to t and
r = -h' / h for the step before it (section 3.2, with B(h) = expm1(-h), called bh2):

    Dbar = D_t' + c_1 (D_t'' - D_t') / r + c_2 (D_t - D_t'),   c_1 + c_2 = b_1, r c_1 + c_2 = b_2,
    b_1 = phi / B(h), b_2 = 2 (-phi / h - 1/2) / B(h),          phi = -B(h) / h - 1.
"""

import jax.numpy as jnp

from gen_jax.diffusion.ddim import ddim_line
from gen_jax.diffusion.sampler import Stepper, call
from gen_jax.paths import Coefficients
from gen_jax.types import Array, Float


def _half_log_snr(c: Coefficients) -> Array:
    return jnp.log(c.alpha / c.sigma)


def corrector_weights(
    h: Float[Array, ""], h_before: Float[Array, ""], is_first: Array
) -> tuple[Array, Array]:
    """(c_1 / r, c_2) of the formula at the head of this file; (0, 1/2) after the first step."""
    r = jnp.where(is_first, -1.0, -h_before / h)
    b = jnp.expm1(-h)
    phi = -b / h - 1
    b_1, b_2 = phi / b, 2 * (-phi / h - 0.5) / b
    c_1 = (b_1 - b_2) / (1 - r)
    return jnp.where(is_first, 0.0, c_1 / r), jnp.where(is_first, 0.5, b_1 - c_1)


def unipc() -> Stepper:
    """UniPC of order 3 (predictor 2, corrector 3); one network call per step.

    Meant for a grid uniform in log-SNR, like DPM-Solver++. The last step is first order.
    """

    def step(keys, denoise, path, x, carry, transition):
        start, before, x0_before, x0_two_before, h_before = carry
        is_start, is_first = transition.index == 0, transition.index <= 1
        x0 = call(denoise, x, transition.t)
        h = jnp.where(is_start, 1.0, _half_log_snr(transition.now) - _half_log_snr(before))
        w_two_before, w_now = corrector_weights(h, h_before, is_first)
        mean = x0_before + w_two_before * (x0_two_before - x0_before) + w_now * (x0 - x0_before)
        led_here = transition._replace(now=before, next=transition.now)
        x = jnp.where(is_start, x, ddim_line(start, mean, led_here, 0.0, 0.0))

        h_next = _half_log_snr(transition.next) - _half_log_snr(transition.now)
        slope = jnp.where(is_start | transition.last, 0.0, h_next / (2 * h))
        predicted = ddim_line(x, x0 + slope * (x0 - x0_before), transition, 0.0, 0.0)
        return predicted, (x, transition.now, x0, x0_before, h)

    def init(x):
        zero, one = jnp.zeros_like(x), jnp.ones((), x.dtype)
        return zero, Coefficients(one, one, one, one), zero, zero, one

    return Stepper(step, init, grid="log_snr")
