"""Divergence of a velocity field: what the log-density of a point that moves with it loses."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.calls import called, marks
from gen_jax.types import Array


def exact_divergence(
    field: Callable[[Array], Array], x: Array, probe: Array
) -> tuple[Array, Array]:
    """u(x) and its exact divergence [B]: one derivative per dimension; `probe` is not used.

    Each derivative counts as a network call where the field calls a network.
    """
    size = math.prod(x.shape[1:])
    pass_of = called if marks(field, x) else lambda column: column
    basis = jnp.eye(size, dtype=x.dtype).reshape(size, 1, *x.shape[1:])
    value, derivative = jax.linearize(field, x)

    def entry(direction):
        tangent = jnp.broadcast_to(direction, x.shape)
        return jnp.sum(pass_of(derivative(tangent)) * tangent, axis=tuple(range(1, x.ndim)))

    return value, jnp.sum(jax.lax.map(entry, basis), axis=0)


def hutchinson_divergence(
    field: Callable[[Array], Array], x: Array, probe: Array
) -> tuple[Array, Array]:
    """u(x) and z^T (du / dx) z for the probe z: unbiased, one jvp (grathwohl2019 eq. 7)."""
    value, column = jax.jvp(field, (x,), (probe,))
    return value, jnp.sum(column * probe, axis=tuple(range(1, x.ndim)))


DIVERGENCES = {"exact": exact_divergence, "hutchinson": hutchinson_divergence}
"""`measure(field, x [B, ...], probe) -> (field(x), divergence [B])`, by name."""
