"""Inverse autoregressive flow posterior (kingma2016): a Gaussian bent step by step.

    z_0 ~ N(mean(x), std(x)^2),   z_(t+1)_i = z_t_i exp(s_i) + m_i,   (m, s)_i of (z_t)_<i and h(x)

Drawing with its density is one call of a masked network per layer. The density of other points
inverts the layers, a call per dimension. The masked network reads the context h(x) as coordinates
that come before those of z.
"""

import jax
import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.flows import Elementwise, affine
from gen_jax.nets import MADE
from gen_jax.types import Array
from gen_jax.vae.gaussians import log_normal
from gen_jax.vae.posterior import Posterior, PosteriorFamily, gaussian_draw, single


def inverse_autoregressive(
    layers: int = 2, hidden: tuple[int, ...] = (64, 64), context: int = 16
) -> PosteriorFamily:
    """Affine autoregressive layers, the identity at first, each in the reverse order of the last.

    Args:
      hidden: widths of the masked networks.
      context: numbers of the encoder that the networks see.
    """
    check_range("layers", layers, 1, integer=True)
    check_range("context", context, 0, integer=True)
    function = affine()
    network = lambda dim: MADE(context + dim, function.size, hidden)

    def init(key, dim):
        keys = jax.random.split(key, layers)
        return [network(dim).init(k, jnp.zeros((1, context + dim))) for k in keys]

    def make(params, raw):
        dim = (raw.shape[1] - context) // 2
        mean, log_std, h = jnp.split(raw, [dim, 2 * dim], axis=-1)
        bends = lambda layer: _Bend(network(dim), layer, function)

        def draw(params, keys):
            mean, log_std, h, steps = params
            z, log_q = gaussian_draw((mean, log_std), keys)
            for step in steps:
                z, log_slope = bends(step).forward(z, h)
                z, log_q = z[:, ::-1], log_q - log_slope
            return single(z, log_q)

        def log_prob(params, z):
            mean, log_std, h, steps = params
            total = jnp.zeros(z.shape[:1], z.dtype)
            for step in reversed(steps):
                z, log_slope = bends(step).inverse(z[:, ::-1], h)
                total = total - log_slope
            return total + log_normal(z, mean, log_std).sum(-1)

        return Posterior((mean, log_std, h, params), draw, log_prob)

    return PosteriorFamily(lambda dim: 2 * dim + context, init, make)


class _Bend:
    """One layer: coordinate i moves by numbers that depend on the context and on z_<i."""

    def __init__(self, network: MADE, params, function: Elementwise):
        self.network, self.params, self.function = network, params, function

    def _raw(self, z: Array, h: Array) -> Array:
        out: Array = self.network.apply(self.params, jnp.concatenate([h, z], -1))  # type: ignore
        return out[:, h.shape[1] :].astype(z.dtype)

    def forward(self, z: Array, h: Array) -> tuple[Array, Array]:
        """(y, log |dy/dz| [B])."""
        y, log_slope = self.function.forward(z, self._raw(z, h))
        return y, log_slope.sum(-1)

    def inverse(self, y: Array, h: Array) -> tuple[Array, Array]:
        """(z, log |dy/dz| [B]): each pass settles one more coordinate."""
        solve = lambda z, _: (self.function.inverse(y, self._raw(z, h))[0], None)
        z, _ = jax.lax.scan(solve, jnp.zeros_like(y), length=y.shape[1])
        return z, self.forward(z, h)[1]
