"""The tempering curve p_b ~ exp(-b E), and how far to go along it (qiu2024, section 4.3)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from gen_jax.annotations import shaped
from gen_jax.batching import check_rows
from gen_jax.sampling.importance import effective_sample_size
from gen_jax.types import Array, Float

FIRST_STEP, SLOWEST, FASTEST, MEMORY = (0.01, 1.0), 0.5, 2.0, 0.9
"""Bounds of the first step in log b; of later ones, in averages so far; the average's memory."""


class Curve(NamedTuple):
    """The curve at b, from points of r.

    Fields:
      kl, slope: KL(p_b || p_1) in nats, and its derivative by b.
      log_z: log of the integral of p^b.
      ess: effective share of the points, from 1/N to 1; small where r misses parts of p_b.
    """

    kl: Float[Array, ""]
    slope: Float[Array, ""]
    log_z: Float[Array, ""]
    ess: Float[Array, ""]


@shaped()
def tempering_curve(
    energy: Float[Array, "N"], log_r: Float[Array, "N"], beta: float | Float[Array, ""]
) -> Curve:
    """The curve at b from the energies -log p of N points of r.

    KL = (1 - b) E_b[E] + log Z_1 - log Z_b and dKL/db = (b - 1) Var_b[E], with expectations under
    p_b by self-normalised importance sampling.
    Raises ConfigError for no points.
    """
    check_rows("energy", energy)
    log_weights = -beta * energy - log_r
    log_n = jnp.log(energy.shape[0])
    log_z, log_z_one = logsumexp(log_weights) - log_n, logsumexp(-energy - log_r) - log_n
    weights = jax.nn.softmax(log_weights)
    # A point outside the support has weight 0 and energy infinity.
    energy = jnp.where(weights > 0, energy, 0)
    mean = jnp.sum(weights * energy)
    variance = jnp.sum(weights * (energy - mean) ** 2)
    kl = (1 - beta) * mean + log_z_one - log_z
    ess = effective_sample_size(log_weights) / energy.shape[0]
    return Curve(kl, (beta - 1) * variance, log_z, ess)


def log_step(curve: Curve, beta: float | Array, kl_factor: float) -> Float[Array, ""]:
    """The step in log b that would multiply KL by `kl_factor`, were it linear in log b."""
    steepness = jnp.maximum(-beta * curve.slope, jnp.finfo(curve.slope.dtype).tiny)
    return (1 - kl_factor) * jnp.maximum(curve.kl, 0) / steepness


def bounded_step(
    step: Float[Array, ""], average: Float[Array, ""], first: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The step within its bounds, and the new average of steps.

    The first is at most 1; later ones lie between half and twice the average of those before.
    """
    low = jnp.where(first, FIRST_STEP[0], SLOWEST * average)
    high = jnp.where(first, FIRST_STEP[1], FASTEST * average)
    step = jnp.clip(jnp.where(jnp.isfinite(step), step, low), low, high)
    return step, jnp.where(first, step, MEMORY * average + (1 - MEMORY) * step)
