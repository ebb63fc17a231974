"""Divergence of a velocity field: what the log-density of a point that moves with it loses."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.calls import called, marks
from gen_jax.types import Array

MOST_EXACT = 128
"""Dimensions up to which experiments and FFJORD compute the exact divergence by default."""


def exact_divergence(
    field: Callable[[Array], Array], x: Array, probe: Array
) -> tuple[Array, Array]:
    """u(x) and its exact divergence [B]: one derivative per dimension; `probe` is not used.

    Each derivative counts as a network call where the field calls a network.
    """
    size = math.prod(x.shape[1:])
    basis = jnp.eye(size, dtype=x.dtype).reshape(size, 1, *x.shape[1:])
    value, products = _products(field, x, basis)
    return value, jnp.sum(products, axis=0)


def hutchinson_divergence(
    field: Callable[[Array], Array], x: Array, probe: Array
) -> tuple[Array, Array]:
    """u(x) and z^T (du / dx) z for the probe z: unbiased, one jvp (grathwohl2019 eq. 7).

    Of probes [K, B, ...] it is the mean: K jvps, which count as those of the exact divergence do.
    """
    if probe.ndim > x.ndim:
        value, products = _products(field, x, probe)
        return value, jnp.mean(products, axis=0)
    value, column = jax.jvp(field, (x,), (probe,))
    return value, jnp.sum(column * probe, axis=tuple(range(1, x.ndim)))


def _products(field: Callable[[Array], Array], x: Array, directions: Array) -> tuple[Array, Array]:
    """u(x) and v^T (du / dx) v [K, B] of the directions v [K, B or 1, ...]."""
    pass_of = called if marks(field, x) else lambda column: column
    value, derivative = jax.linearize(field, x)

    def product(direction):
        tangent = jnp.broadcast_to(direction, x.shape)
        return jnp.sum(pass_of(derivative(tangent)) * tangent, axis=tuple(range(1, x.ndim)))

    return value, jax.lax.map(product, directions)


DIVERGENCES = {"exact": exact_divergence, "hutchinson": hutchinson_divergence}
"""`measure(field, x [B, ...], probe) -> (field(x), divergence [B])`, by name."""
