"""Adams-Bashforth's multistep method in the angle between data and noise; one call per step.

With data of standard deviation sd, N^2 = alpha^2 sd^2 + sigma^2 and phi = atan(sigma / (alpha sd)),

    z = x / N = cos(phi) x0 / sd + sin(phi) eps,   dz / dphi = -F,

where F is the raw output of an EDM network (karras2022 eq. 7), which is -v for sd = 1. The steps
depend on the noise levels alone, so that every path gives the same samples, and both ends are
regular: phi = 0 at the data, pi / 2 at pure noise. A Gaussian of standard deviation sd has F = 0.
The polynomial through the last values of F is integrated exactly, as zhang2023 (DEIS) does with eps
in place of F.
"""

import jax.numpy as jnp
import numpy as np

from gen_jax.diffusion.sampler import Stepper, call
from gen_jax.errors import check_range
from gen_jax.paths import Coefficients
from gen_jax.types import Array, Float

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)  # exact up to degree 5


def _norm(c: Coefficients, data_std: Array) -> Array:
    return jnp.hypot(c.alpha * data_std, c.sigma)


def adams_weights(
    nodes: Float[Array, "k"], start: Float[Array, ""], end: Float[Array, ""]
) -> Float[Array, "k"]:
    """Integrals from start to end of the Lagrange polynomials of `nodes`."""
    at = start + (end - start) * (1 + _NODES) / 2
    rows = []
    for i in range(nodes.shape[0]):
        others = [j for j in range(nodes.shape[0]) if j != i]
        factors = [(at - nodes[j]) / (nodes[i] - nodes[j]) for j in others]
        value = jnp.prod(jnp.stack(factors), axis=0) if factors else jnp.ones_like(at)
        rows.append((end - start) / 2 * (value @ _WEIGHTS))
    return jnp.stack(rows)


def adams(order: int = 4) -> Stepper:
    """Adams-Bashforth of order 1 to 4 in the angle phi, at lower orders in its first steps."""
    check_range("order", order, 1, 4, integer=True)

    def step(keys, denoise, path, x, carry, transition):
        angles, slopes = carry
        now, next_, std = transition.now, transition.next, transition.data_std
        x0 = call(denoise, x, transition.t)
        angle = lambda c: jnp.arctan2(c.sigma, c.alpha * std).astype(angles.dtype)
        phi, phi_next = angle(now), angle(next_)
        eps = (x - now.alpha * x0) / now.sigma
        slope = (now.sigma * x0 - now.alpha * std**2 * eps) / (std * _norm(now, std))
        angles = jnp.concatenate([phi[None], angles])
        slopes = jnp.concatenate([slope[None].astype(x.dtype), slopes])
        rows = [
            jnp.pad(adams_weights(angles[:k], phi, phi_next), (0, order - k))
            for k in range(1, order + 1)
        ]
        weights = jnp.stack(rows)[jnp.minimum(transition.index, order - 1)].astype(x.dtype)
        z = x / _norm(now, std) - jnp.tensordot(weights, slopes, axes=1)
        return (_norm(next_, std) * z).astype(x.dtype), (angles[:-1], slopes[:-1])

    def init(x):
        # Angles above pi / 2 stand for steps that have not been: apart, and never used.
        return 2.0 + jnp.arange(order - 1, dtype=float), jnp.zeros((order - 1, *x.shape), x.dtype)

    return Stepper(step, init, grid="power")
