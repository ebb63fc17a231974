"""A flow as a density and as a sampler: a bijector with a standard normal base."""

import math

import jax.numpy as jnp

from gen_jax.checks import check_output
from gen_jax.flows.bijector import Bijector, Shape
from gen_jax.randomness import normal, sample_keys
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.types import Array, Float, Key


def log_base(z: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """log N(z; 0, I) in nats."""
    size = math.prod(z.shape[1:])
    return -0.5 * jnp.sum(z**2, tuple(range(1, z.ndim))) - size / 2 * LOG_2_PI


def push(
    bijector: Bijector, z: Float[Array, "B ..."]
) -> tuple[Float[Array, "B ..."], Float[Array, "B"]]:
    """x = T(z) and log q(x), differentiable through both: `(x, log q)`."""
    x, log_det = bijector.forward(z)
    check_output("forward's log_det", log_det, (len(z),))
    return x, log_base(z) - log_det


def log_density(bijector: Bijector, x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """log q(x) = log N(T^-1(x)) + log |det dT^-1/dx| in nats."""
    z, log_det = bijector.inverse(x)
    check_output("inverse's log_det", log_det, (len(x),))
    return log_base(z) + log_det


def sample(
    key: Key[Array, "*batch"],
    bijector: Bijector,
    n: int,
    shape: Shape,
    dtype=jnp.float32,
    temperature: float | Array = 1.0,
) -> tuple[Float[Array, "n ..."], Float[Array, "n"]]:
    """n independent draws and their log q; `key` is one key, or one per sample [n].

    Args:
      shape: of the base.
      temperature: standard deviation of the base; log q is that of temperature 1.
    """
    shape = (shape,) if isinstance(shape, int) else shape
    return push(bijector, temperature * normal(sample_keys(key, n), shape, dtype))
