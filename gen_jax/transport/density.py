"""A flow as a density and as a sampler: a bijector with a standard normal base."""

import jax.numpy as jnp

from gen_jax.flows import Bijector
from gen_jax.model import normal, sample_keys
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.types import Array, Float, Key


def log_base(z: Float[Array, "B D"]) -> Float[Array, "B"]:
    """log N(z; 0, I) in nats."""
    return -0.5 * jnp.sum(z**2, -1) - z.shape[-1] / 2 * LOG_2_PI


def push(
    bijector: Bijector, z: Float[Array, "B D"]
) -> tuple[Float[Array, "B D"], Float[Array, "B"]]:
    """x = T(z) and log q(x), differentiable through both: `(x, log q)`."""
    x, log_det = bijector.forward(z)
    return x, log_base(z) - log_det


def log_density(bijector: Bijector, x: Float[Array, "B D"]) -> Float[Array, "B"]:
    """log q(x) = log N(T^-1(x)) + log |det dT^-1/dx| in nats."""
    z, log_det = bijector.inverse(x)
    return log_base(z) + log_det


def sample(
    key: Key[Array, "*batch"], bijector: Bijector, n: int, dim: int, dtype=jnp.float32
) -> tuple[Float[Array, "n D"], Float[Array, "n"]]:
    """n independent draws and their log q; `key` is one key, or one per sample [n]."""
    return push(bijector, normal(sample_keys(key, n), (dim,), dtype))
