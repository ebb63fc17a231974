"""Invertible 1x1 convolutions (kingma2018): one matrix mixes the channels of every pixel.

The data go to the base by W itself, so that training multiplies and only sampling solves. Both
work on the last axis: of points [B, D] they mix the coordinates.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from gen_jax.errors import check_choice
from gen_jax.flows.bijector import Bijector, Layer, channels_of
from gen_jax.types import Array, Float, Key

HIGHEST = jax.lax.Precision.HIGHEST


def rotation(key: Key[Array, ""], size: int) -> Float[Array, "C C"]:
    """A random orthogonal matrix."""
    return jnp.linalg.qr(jax.random.normal(key, (size, size)))[0]


def plain() -> Layer:
    """W [C, C] free, a random rotation at first; log |det W| by slogdet, C^3 per call."""

    def init(key, shape, extra=0):
        return rotation(key, channels_of(shape))

    def bijector(weight, condition=None):
        log_det = jnp.linalg.slogdet(weight)[1]
        solve = lambda y: jnp.matmul(y, jnp.linalg.inv(weight), precision=HIGHEST)
        return on_last_axis(lambda x: jnp.matmul(x, weight, precision=HIGHEST), solve, log_det)

    return Layer(init, bijector)


def factored(seed: int = 0) -> Layer:
    """W = P L (U + diag(e^s)) with a permutation P fixed by the seed and the number of channels.

    At first W = P; log |det W| = sum(s), and no parameters can make W singular.
    """

    def init(key, shape, extra=0):
        zeros = jnp.zeros((channels_of(shape),) * 2)
        return {"lower": zeros, "upper": zeros, "log_scale": zeros[0]}

    def bijector(params, condition=None):
        scale = jnp.diag(jnp.exp(params["log_scale"]))
        order = np.random.default_rng(seed).permutation(len(scale))
        lower = jnp.tril(params["lower"], -1) + jnp.eye(len(scale), dtype=scale.dtype)
        upper = jnp.triu(params["upper"], 1) + scale
        dot = lambda a, b: jnp.matmul(a, b, precision=HIGHEST)

        def solve(y):
            # y = x P L U: undo U, then L, then P, on rows.
            rows = y.reshape(-1, y.shape[-1]).T
            rows = solve_triangular(upper, rows, trans=1, lower=False)
            rows = solve_triangular(lower, rows, trans=1, lower=True, unit_diagonal=True)
            return rows.T[:, np.argsort(order)].reshape(y.shape)

        weight = dot(lower, upper)
        return on_last_axis(lambda x: dot(x[..., order], weight), solve, params["log_scale"].sum())

    return Layer(init, bijector)


def on_last_axis(multiply: Callable, solve: Callable, log_det: Array) -> Bijector:
    """Data to base by `multiply`, back by `solve`; log |det| counts every pixel."""

    def with_log_det(run, sign):
        def apply(x):
            total = sign * log_det * math.prod(x.shape[1:-1])
            return run(x), jnp.broadcast_to(total.astype(x.dtype), x.shape[:1])

        return apply

    return Bijector(with_log_det(solve, -1), with_log_det(multiply, 1))


MIXINGS: dict[str, Callable[[], Layer]] = {"plain": plain, "lu": factored}
"""How the matrix is parametrised, by name."""


def invertible_linear(kind: str = "plain") -> Layer:
    """A free matrix that mixes the last axis (kingma2018), `kind` one of MIXINGS.

    Raises ConfigError for unknown names.
    """
    return MIXINGS[check_choice("kind", kind, MIXINGS)]()
