"""Continuous flows (chen2018, grathwohl2019): the solution of dx/dt = f(x, t) from t = 0, the data,
to t = 1, the base. log p(x_0) = log p_1(x_1) + integral of div f dt.

A fixed-step solver makes both directions inverse to each other up to its error only, and the
log-density an estimate whose error falls with the step.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import check_choice
from gen_jax.flows.bijector import Bijector
from gen_jax.solvers.divergence import DIVERGENCES
from gen_jax.solvers.ode import integrate, integrate_steps
from gen_jax.types import Array, Float, Int

Field = Callable[[Array, Array], Array]
"""`f(x [B, ...], t []) -> dx/dt [B, ...]`."""


class Solution(NamedTuple):
    """Where the data go, and integrals along the way, [B] each.

    Fields:
      z: x at t = 1.
      log_det: integral of div f: log |det dz/dx| in nats.
      kinetic: integral of |f|^2.
      jacobian: integral of |df/dx probe|^2, whose mean over probes is that of the Frobenius norm.
    """

    z: Float[Array, "B ..."]
    log_det: Float[Array, "B"]
    kinetic: Float[Array, "B"]
    jacobian: Float[Array, "B"]


def to_base(
    field: Field,
    x: Float[Array, "B ..."],
    probe: Float[Array, "B ..."],
    *,
    num_steps: int | Int[Array, ""] = 16,
    method: str = "rk4",
    divergence: str = "exact",
    regularised: bool = False,
    times: tuple[float, float] = (0, 1),
) -> Solution:
    """Solve from the data to the base with the log-determinant.

    Args:
      probe: of +-1 (Rademacher), the same along the whole way; "exact" without `regularised` does
        not look at it.
      divergence: "exact" (a derivative per dimension) or "hutchinson" (one, unbiased).
      regularised: also form the integrals of finlay2020, which are 0 otherwise.
      times: of the start and the end; (1, 0) goes from the base to the data.
    Calls of the field: num_steps times the stages of `method`. Raises ConfigError for unknown
    names.
    """
    measure = DIVERGENCES[check_choice("divergence", divergence, DIVERGENCES)]
    over = tuple(range(1, x.ndim))
    zeros = jnp.zeros(x.shape[:1], x.dtype)

    def augmented(state, t):
        at_time = lambda x: field(x, t)
        value, div = measure(at_time, state[0], probe)
        if not regularised:
            return value, div, zeros, zeros
        column = jax.jvp(at_time, (state[0],), (probe,))[1]
        return value, div, jnp.sum(value**2, over), jnp.sum(column**2, over)

    start, end = times
    time = lambda i: jnp.asarray(start + (end - start) * (i / num_steps), x.dtype)
    state = (x, zeros, zeros, zeros)
    return Solution(*integrate_steps(augmented, state, time, num_steps, method))


def to_data(
    field: Field, z: Float[Array, "B ..."], *, num_steps: int = 16, method: str = "rk4"
) -> Float[Array, "B ..."]:
    """Solve from the base to the data."""
    return integrate(field, z, jnp.linspace(1, 0, num_steps + 1, dtype=z.dtype), method)


def solver_bijector(field: Field, *, num_steps: int = 16, method: str = "rk4") -> Bijector:
    """Both directions with the exact divergence; inverse to each other up to the solver's error."""

    def go(times):
        def solve(x: Float[Array, "B ..."]) -> tuple[Float[Array, "B ..."], Float[Array, "B"]]:
            options = {"num_steps": num_steps, "method": method, "times": times}
            way = to_base(field, x, jnp.ones_like(x), **options)
            return way.z, way.log_det

        return solve

    return Bijector(go((1, 0)), go((0, 1)))
