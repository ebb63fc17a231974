"""Radial layers (rezende2015): y = x + beta (x - c) / (alpha + r), r = |x - c|.

Invertible exactly when alpha > 0 and beta > -alpha. The inverse's radius is the positive root of
r^2 + (alpha + beta - s) r - alpha s = 0 with s = |y - c|: both directions are in closed form.
"""

import jax
import jax.numpy as jnp

from gen_jax import safe
from gen_jax.errors import ConfigError
from gen_jax.flows.bijector import Bijector, Layer, vectors
from gen_jax.types import Array, Float


def radial() -> Layer:
    """Parameters c, alpha = softplus(.) > 0 and beta = softplus(.) - alpha > -alpha; beta = 0 at
    first (rezende2015, appendix A.2).
    """

    def init(key, dim, extra=0):
        zero = jnp.zeros(())
        return {"centre": jax.random.normal(key, (vectors(dim),)), "alpha": zero, "beta": zero}

    def bijector(params, condition=None):
        alpha = jax.nn.softplus(params["alpha"])
        beta = jax.nn.softplus(params["alpha"] + params["beta"]) - alpha
        return radial_bijector(params["centre"], alpha, beta)

    return Layer(init, bijector)


def radial_bijector(
    centre: Float[Array, "D"], alpha: Float[Array, ""], beta: Float[Array, ""]
) -> Bijector:
    """The map of given parameters. Raises ConfigError unless alpha > 0 and beta > -alpha."""
    known = not isinstance(alpha + beta, jax.core.Tracer)
    if known and not (alpha > 0 and beta > -alpha):
        raise ConfigError(
            f"alpha={float(alpha):g}, beta={float(beta):g} must have alpha > 0 and beta > -alpha: "
            "the map has no inverse"
        )

    def log_det_at(r, dim):
        h = 1 / (alpha + r)
        return (dim - 1) * jnp.log1p(beta * h) + jnp.log1p(beta * alpha * h**2)

    def forward(x):
        away = x - centre
        r = safe.length(away)
        return x + beta * away / (alpha + r)[:, None], log_det_at(r, x.shape[1])

    def inverse(y):
        away = y - centre
        s = safe.length(away)
        linear = alpha + beta - s
        # The root without cancellation on either side of linear = 0.
        both = safe.sqrt(linear**2 + 4 * alpha * s) + jnp.where(linear > 0, linear, -linear)
        r = jnp.where(linear > 0, 2 * alpha * s / both, both / 2)
        x = centre + away / (1 + beta / (alpha + r))[:, None]
        return x, -log_det_at(r, y.shape[1])

    return Bijector(forward, inverse)
