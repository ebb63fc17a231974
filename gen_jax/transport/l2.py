"""The L2 sampler: squared distance of densities; its gradient does not vanish far from the target.

qiu2024, section 4; "The L2 Flow Sampler" of the deck by the same name.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax.scipy.special import logsumexp

from gen_jax.annotations import shaped
from gen_jax.batching import check_rows
from gen_jax.checks import per_point
from gen_jax.flows import Bijector
from gen_jax.flows.density import push
from gen_jax.types import Array, Float

FLOOR = 1e-6
"""Keeps log |e^t - 1| and its gradient finite where both densities agree."""


def log_squared_difference(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """log (e^a - e^b)^2 from two log-densities, whichever is larger, without overflow.

    Differences below `FLOOR` of the larger density count as that.
    """
    return 2 * (jnp.maximum(a, b) + jnp.log(FLOOR - jnp.expm1(-jnp.abs(a - b))))


@shaped()
def log_l2_distance(
    log_q: Float[Array, "B"], log_p: Float[Array, "B"], log_r: Float[Array, "B"]
) -> Float[Array, ""]:
    """log of the integral of (q - p)^2, by importance sampling from r at B of its points.

    The loss of a stage: one number for the batch, because the logarithm is of its mean.
    Raises ConfigError for no points.
    """
    check_rows("log_q", log_q)
    terms = log_squared_difference(log_q, log_p) - log_r
    return logsumexp(terms) - jnp.log(terms.shape[0])


def l2_objective(
    log_density: Callable[[Array], Array], bijector: Bijector, z: Float[Array, "B D"]
) -> Float[Array, "B"]:
    """q(x) - 2 p(x) at x = T(z) (qiu2024, algorithm 3): its mean is |q - p|^2 - |p|^2.

    `log_density` must be normalised. Sampled from q itself, it is blind where q is not.
    Raises ConfigError unless `log_density` returns [B].
    """
    x, log_q = push(bijector, z)
    return jnp.exp(log_q) - 2 * jnp.exp(per_point("log_density", log_density)(x))
