"""Steppers that integrate the probability-flow ODE dx / dt = u(x, t) in the path's own time.

u = alpha' D + sigma' E, with D the denoised point and E the noise it implies.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from gen_jax.diffusion.grids import SIGMA_MIN
from gen_jax.diffusion.sampler import Stepper, call
from gen_jax.errors import check_choice, check_range
from gen_jax.paths import time_of_log_snr, velocity
from gen_jax.solvers import adaptive as adaptive_solver
from gen_jax.solvers.ode import TABLEAUS, rk_step
from gen_jax.types import Array, Float


def _smallest_time(t: Array) -> Array:
    """Where the velocity is evaluated in place of t = 0, (x - alpha D) / sigma being 0 / 0 there.

    Rounding grows and the error of the time falls as this falls: the square root of the precision.
    """
    return jnp.minimum(t, jnp.finfo(t.dtype).eps ** 0.5)


def runge_kutta(method: str = "rk4") -> Stepper:
    """Any explicit Runge-Kutta method of `solvers.ode.TABLEAUS`, on dx / dt through to t = 0.

    On paths whose sigma(0) is not zero (ve, edm) the noise left there is removed by one more call.
    Near the data the velocity of a network that predicts x0 has its error over sigma.
    """
    tableau = TABLEAUS[check_choice("method", method, TABLEAUS)]

    def step(keys, denoise, path, x, carry, transition):
        t, s, last = transition.t, transition.s, transition.last
        field = velocity(denoise, path)
        floor = _smallest_time(t)
        at_time = lambda x, time: field(x, jnp.full(x.shape[:1], jnp.maximum(time, floor)))
        zero = jnp.zeros_like(t)
        left = path.sigma(zero) / path.alpha(zero)
        # The step from the path's own clean end to the data has no length in t.
        move = ~last | (transition.now.sigma > 1.001 * transition.now.alpha * left)
        clean = last & (left > 0)

        def advance(x):
            return rk_step(tableau, at_time, x, t, s - t)

        def finish(x):
            return call(denoise, x, s)

        x = jax.lax.cond(move, advance, lambda x: x, x)
        x = jax.lax.cond(clean, finish, lambda x: x, x)
        # x_0 of a path that scales the data is alpha x0.
        return jnp.where(last & ~clean, x / path.alpha(zero), x), carry

    return Stepper(step, grid="flow")


def euler() -> Stepper:
    """Euler's method on dx / dt: the sampler of flow matching; one call per step."""
    return runge_kutta("euler")


def heun() -> Stepper:
    """Heun's method on dx / dt, second order; two calls per step. In sigma it is `edm_heun`."""
    return runge_kutta("heun")


def for_each_sample(field: Callable, x: Float[Array, "B ..."]) -> Callable:
    """`one(x [...], t [])` of `field(x [B, ...], t [B])`: vmap calls the whole batch.

    A denoiser may hold a label for each sample, so it has to meet its batch as a whole. The field's
    value is an array or a pytree of arrays, each with an axis [B].
    """
    whole, shape = jax.make_jaxpr(field, return_shape=True)(x, jnp.zeros(x.shape[:1], x.dtype))

    def batch(x, t, held):
        leaves = jax.core.eval_jaxpr(whole.jaxpr, held, x, t)
        return jax.tree.unflatten(jax.tree.structure(shape), leaves)

    def spread(a):
        return jnp.broadcast_to(a, (x.shape[0], *a.shape))

    # What the field holds is an argument: a rule must not close over traced values.
    @custom_vmap
    def one(x, t, held):
        return jax.tree.map(lambda a: a[0], batch(spread(x), spread(t), held))

    @one.def_vmap
    def rule(axis_size, in_batched, x, t, held):
        x, t = (a if given else spread(a) for a, given in zip((x, t), in_batched))
        return batch(x, t, held), jax.tree.map(lambda _: True, shape)

    return lambda x, t: one(x, jnp.asarray(t, x.dtype), whole.consts)


def adaptive(
    rtol: float = 1e-4, atol: float = 1e-4, method: str = "dopri5", max_steps: int = 4096
) -> Stepper:
    """Adaptive Runge-Kutta (diffrax) between the times of the grid, one step size per sample.

    The last interval is integrated down to noise level SIGMA_MIN data_std, or the path's own end
    above it, and denoised there. The count of calls is that of the slowest sample, which is what a
    batch costs.
    """
    check_range("rtol", rtol, 0, open_low=True)
    check_range("atol", atol, 0, open_low=True)

    def step(keys, denoise, path, x, carry, transition):
        one = for_each_sample(velocity(denoise, path), x)
        cleanest = time_of_log_snr(path, -2 * jnp.log(SIGMA_MIN * transition.data_std))
        end = jnp.where(transition.last, cleanest.astype(transition.t.dtype), transition.s)
        near = path.sigma(end) / path.alpha(end)
        move = ~transition.last | (transition.now.sigma > 1.01 * transition.now.alpha * near)

        def solve_one(x):
            return adaptive_solver.integrate(
                one,
                x,
                transition.t,
                end,
                method=method,
                rtol=rtol,
                atol=atol,
                max_steps=max_steps,
            )

        def advance(x):
            return jax.vmap(solve_one)(x)[0]

        def finish(x):
            return call(denoise, x, jnp.minimum(transition.t, end))

        x = jax.lax.cond(move, advance, lambda x: x, x)
        x = jax.lax.cond(transition.last, finish, lambda x: x, x)
        return x, carry

    return Stepper(step, grid="ends")
