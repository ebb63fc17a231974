"""Adams-Bashforth's multistep method between data and noise; one network call per step.

With data of standard deviation sd, N^2 = alpha^2 sd^2 + sigma^2 and tan phi = sigma / (alpha sd),

    z = x / N = cos(phi) x0 / sd + sin(phi) eps,   dz / dphi = -F,

where F is the raw output of an EDM network (karras2022 eq. 7), which is -v for sd = 1. The steps
depend on the noise levels alone, so that every path gives the same samples, and both ends are
regular: phi = 0 at the data, pi / 2 at pure noise. A Gaussian of standard deviation sd has F = 0.

A network that sees log(sigma / alpha) is not smooth in phi at the ends: there F has a logarithm. It
is a polynomial in w instead, tan phi = (w / (1 - w))^k, which stretches both ends; more steps allow
a larger k, see `stretch`. F(w) dphi is integrated, as zhang2023 (DEIS) does with eps for F.
"""

import jax.numpy as jnp
import numpy as np

from gen_jax.diffusion.sampler import Stepper, call
from gen_jax.errors import check_range
from gen_jax.parameterisations import Coefficients
from gen_jax.types import Array, Float, Int

_GAUSS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(16)
# With Gauss's nodes in s, w moves as s^2 (3 - 2 s): dphi / dw has a root of w at both ends.
_S = (1 + _GAUSS) / 2
_SHARES, _WEIGHTS = _S**2 * (3 - 2 * _S), 3 * _S * (1 - _S) * _GAUSS_WEIGHTS


GROWTH = 1.35
"""Most that a step may magnify errors of the past slopes, over what its order does at equal steps.

After shorter steps, as at the end of a path that stops before the data, the order is lower.
"""

EQUAL = (1.0, 2.0, 11 / 3, 20 / 3)
"""Sums of the absolute weights of orders 1 to 4 at equal steps, over that of the weights."""


def stretch(n: Int[Array, ""] | int) -> Array:
    """k of the grid `stretched` and of `adams`: 1 + log2(n / 10) / 3 with n steps.

    At least 1.2, at most 2, and such that n^k <= 1e5: with thousands of steps no level is closer
    to pure noise than float32 can tell. Chosen on two mixtures and a trained network
    (`benchmarks.solvers`).
    """
    n = jnp.maximum(jnp.asarray(n, float), 2)
    return jnp.minimum(jnp.clip(1 + jnp.log2(n / 10) / 3, 1.2, 2.0), 5 / jnp.log10(n))


def _norm(c: Coefficients, data_std: Array) -> Array:
    return jnp.hypot(c.alpha * data_std, c.sigma)


def _odds(w: Array, k: Array | float) -> tuple[Array, Array]:
    """(sin, cos) of the angle at w, up to their norm."""
    return w**k, (1 - w) ** k


def adams_weights(
    nodes: Float[Array, "k"],
    start: Float[Array, ""],
    end: Float[Array, ""],
    stretch: Array | float = 1.0,
) -> Float[Array, "k"]:
    """Integrals over phi, w from `start` to `end`, of the Lagrange polynomials of `nodes` in w.

    By quadrature, scaled so that a constant is integrated exactly.
    """
    at = start + (end - start) * _SHARES
    a, b = _odds(at, stretch)
    density = (at * (1 - at)) ** (stretch - 1) / (a**2 + b**2) * _WEIGHTS
    whole = jnp.arctan2(*_odds(end, stretch)) - jnp.arctan2(*_odds(start, stretch))
    density *= whole / jnp.sum(density)
    rows = []
    for i in range(nodes.shape[0]):
        others = [j for j in range(nodes.shape[0]) if j != i]
        factors = [(at - nodes[j]) / (nodes[i] - nodes[j]) for j in others]
        value = jnp.prod(jnp.stack(factors), axis=0) if factors else jnp.ones_like(at)
        rows.append(value @ density)
    return jnp.stack(rows)


def _place(c: Coefficients, data_std: Array, k: Array) -> Array:
    """w in [0, 1] of a noise level: 0 at the data, 1 at pure noise."""

    def root(value):  # its slope at 0 would be infinite
        return jnp.where(value > 0, jnp.where(value > 0, value, 1.0) ** (1 / k), 0.0)

    noise = root(c.sigma)
    return noise / (noise + root(c.alpha * data_std))


def _steady(
    rows: Float[Array, "k k"], index: Int[Array, ""], count: Int[Array, ""]
) -> Float[Array, "k"]:
    """The highest order that has its past slopes and does not magnify their errors.

    At most half of the number of steps: a polynomial through slopes from all over the path tells
    nothing of the data's end.
    """
    growth = jnp.sum(jnp.abs(rows), 1)
    most = GROWTH * jnp.asarray(EQUAL[: len(rows)]) * jnp.abs(jnp.sum(rows, 1))
    known = jnp.minimum(index, (count - 1) // 2)
    allowed = (jnp.arange(len(rows)) <= known) & (growth <= most)
    return rows[jnp.max(jnp.where(allowed, jnp.arange(len(rows)), 0))]


def adams(order: int = 4) -> Stepper:
    """Adams-Bashforth of order 1 to 4 in w, at lower orders in its first steps.

    The order is at most half of the number of steps, rounded up: 3 at 5 steps.
    """
    check_range("order", order, 1, 4, integer=True)

    def step(keys, denoise, path, x, carry, transition):
        places, slopes = carry
        now, next_, std = transition.now, transition.next, transition.data_std
        k = stretch(transition.count)
        x0 = call(denoise, x, transition.t)

        w, w_next = (_place(c, std, k).astype(places.dtype) for c in (now, next_))
        eps = (x - now.alpha * x0) / now.sigma
        slope = (now.sigma * x0 - now.alpha * std**2 * eps) / (std * _norm(now, std))
        places = jnp.concatenate([w[None], places])
        slopes = jnp.concatenate([slope[None].astype(x.dtype), slopes])
        rows = [
            jnp.pad(adams_weights(places[:i], w, w_next, k), (0, order - i))
            for i in range(1, order + 1)
        ]
        weights = _steady(jnp.stack(rows), transition.index, transition.count)
        weights = weights.astype(x.dtype)
        z = x / _norm(now, std) - jnp.tensordot(weights, slopes, axes=1)
        return (_norm(next_, std) * z).astype(x.dtype), (places[:-1], slopes[:-1])

    def init(x):
        # Places above 1 stand for steps that have not been: apart, and never used.
        return 2.0 + jnp.arange(order - 1, dtype=float), jnp.zeros((order - 1, *x.shape), x.dtype)

    return Stepper(step, init, grid="stretched")
