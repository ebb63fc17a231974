"""Planar layers (rezende2015): y = x + u tanh(w.x + b), a bend along one direction.

Invertible exactly when w.u > -1. One direction is in closed form; for the other one number per
point, w.x, is found by bisection, since w.y = a + w.u tanh(a + b) rises with a = w.x.
"""

import math

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.flows.bijector import Bijector, Layer, vectors
from gen_jax.sampling.inverse_cdf import bisect
from gen_jax.types import Array, Float

START = 0.1
"""Size of w at first; u is then 0."""

MARGIN = 1e-3
"""The least slope of the map."""


def planar() -> Layer:
    """Parameters w, u, b with u turned so that w.u > -1 (rezende2015, appendix A.1).

    As a part of a density use `invert(planar())`: then the density is in closed form.
    """

    def init(key, dim, extra=0):
        w = START * jax.random.normal(key, (vectors(dim),))
        return {"w": w, "u": jnp.zeros(dim), "b": jnp.zeros(())}

    def bijector(params, condition=None):
        w = params["w"]
        return planar_bijector(w, allowed_direction(w, params["u"]), params["b"])

    return Layer(init, bijector)


def allowed_direction(w: Float[Array, "D"], u: Float[Array, "D"]) -> Float[Array, "D"]:
    """u moved along w until w.u is a softplus above -1 + MARGIN; u = 0 stays."""
    raw = w @ u
    bounded = jax.nn.softplus(raw + math.log(math.expm1(1 - MARGIN))) - (1 - MARGIN)
    return u + (bounded - raw) * w / (w @ w + 1e-12)


def planar_bijector(w: Float[Array, "D"], u: Float[Array, "D"], b: Float[Array, ""]) -> Bijector:
    """The map of given parameters. Raises ConfigError unless w.u > -1."""
    slope = w @ u
    if not isinstance(slope, jax.core.Tracer) and not slope > -1:
        raise ConfigError(f"w.u={float(slope):g} must be above -1: the map has no inverse")

    def log_det_at(a):
        return jnp.log1p(slope * (1 - jnp.tanh(a + b) ** 2))

    def forward(x):
        a = x @ w
        return x + jnp.tanh(a + b)[:, None] * u, log_det_at(a)

    def inverse(y):
        a = root(y @ w, slope, b)
        return y - jnp.tanh(a + b)[:, None] * u, -log_det_at(a)

    return Bijector(forward, inverse)


def root(
    value: Float[Array, "..."], slope: Float[Array, ""], b: Float[Array, ""]
) -> Float[Array, "..."]:
    """a with a + slope tanh(a + b) = value, by bisection and one step of Newton.

    The step polishes the last digits and carries the derivatives, which bisection does not.
    """
    rise = lambda a, slope, b: a + slope * jnp.tanh(a + b)
    known, k, c = jax.tree.map(jax.lax.stop_gradient, (value, slope, b))
    reach = jnp.abs(k) + 1e-3
    a = bisect(lambda a: rise(a, k, c), known, known - reach, known + reach)
    a = jax.lax.stop_gradient(a)
    steep = 1 + slope * (1 - jnp.tanh(a + b) ** 2)
    return a + (value - rise(a, slope, b)) / steep
