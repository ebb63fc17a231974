"""Steppers that integrate the probability-flow ODE dx / dt = u(x, t) in the path's own time.

u = alpha' D + sigma' E, with D the denoised point and E the noise it implies.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from gen_jax.diffusion.sampler import Stepper, call
from gen_jax.errors import check_choice, check_range
from gen_jax.paths import velocity
from gen_jax.solvers import adaptive as adaptive_solver
from gen_jax.solvers.ode import TABLEAUS, rk_step
from gen_jax.types import Array, Float


def runge_kutta(method: str = "rk4") -> Stepper:
    """Any explicit Runge-Kutta method of `solvers.ode.TABLEAUS`; the last step returns D."""
    tableau = TABLEAUS[check_choice("method", method, TABLEAUS)]

    def step(keys, denoise, path, x, carry, transition):
        field = velocity(denoise, path)
        at_time = lambda x, t: field(x, jnp.full(x.shape[:1], t, x.dtype))

        def finish(x):
            return call(denoise, x, transition.t)

        def advance(x):
            return rk_step(tableau, at_time, x, transition.t, transition.s - transition.t)

        return jax.lax.cond(transition.last, finish, advance, x), carry

    return Stepper(step)


def euler() -> Stepper:
    """Euler's method on the velocity: the sampler of flow matching; one call per step."""
    return runge_kutta("euler")


def for_each_sample(field: Callable, x: Float[Array, "B ..."]) -> Callable:
    """`one(x [...], t []) -> [...]` of `field(x [B, ...], t [B])`: vmap calls the whole batch.

    A denoiser may hold a label for each sample, so it has to meet its batch as a whole.
    """
    whole = jax.make_jaxpr(field)(x, jnp.zeros(x.shape[:1], x.dtype))

    def batch(x, t, held):
        return jax.core.eval_jaxpr(whole.jaxpr, held, x, t)[0]

    def spread(a):
        return jnp.broadcast_to(a, (x.shape[0], *a.shape))

    # What the field holds is an argument: a rule must not close over traced values.
    @custom_vmap
    def one(x, t, held):
        return batch(spread(x), spread(t), held)[0]

    @one.def_vmap
    def rule(axis_size, in_batched, x, t, held):
        x, t = (a if given else spread(a) for a, given in zip((x, t), in_batched))
        return batch(x, t, held), True

    return lambda x, t: one(x, jnp.asarray(t, x.dtype), whole.consts)


def adaptive(
    rtol: float = 1e-4, atol: float = 1e-4, method: str = "dopri5", max_steps: int = 4096
) -> Stepper:
    """Adaptive Runge-Kutta (diffrax) between the times of the grid, one step size per sample.

    The count of calls is that of the slowest sample, which is what a batch costs.
    """
    check_range("rtol", rtol, 0, open_low=True)
    check_range("atol", atol, 0, open_low=True)

    def step(keys, denoise, path, x, carry, transition):
        one = for_each_sample(velocity(denoise, path), x)

        def solve_one(x):
            return adaptive_solver.integrate(
                one,
                x,
                transition.t,
                transition.s,
                method=method,
                rtol=rtol,
                atol=atol,
                max_steps=max_steps,
            )

        def advance(x):
            return jax.vmap(solve_one)(x)[0]

        def finish(x):
            return call(denoise, x, transition.t)

        return jax.lax.cond(transition.last, finish, advance, x), carry

    return Stepper(step, grid="ends")
