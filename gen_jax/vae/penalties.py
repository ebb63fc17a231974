"""What pulls the aggregate posterior towards the prior, besides the KL: MMD and density ratios.

A critic is `z [N, D] -> logits [N]`, high for the first of two sets: at its best the logit is the
log of their density ratio.
"""

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Key

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def inverse_multiquadric(
    x: Float[Array, "N D"], y: Float[Array, "M D"], std: float = 1.0
) -> Float[Array, "N M"]:
    """sum over scales s of C / (C + |x - y|^2), C = 2 D std^2 s (tolstikhin2018, appendix)."""
    squared = jnp.sum((x[:, None] - y[None]) ** 2, -1)
    base = 2 * x.shape[1] * std**2
    return sum((base * s / (base * s + squared) for s in SCALES), jnp.zeros_like(squared))


def mmd_squared(x: Float[Array, "N D"], y: Float[Array, "N D"]) -> Float[Array, ""]:
    """Unbiased squared maximum mean discrepancy of two sets of one size (gretton2012 eq. 3).

    With the heavy-tailed kernel of tolstikhin2018, whose gradient reaches points far away. It may
    be negative. Raises ConfigError for fewer than two points, or unequal sets.
    """
    n = len(x)
    if x.shape != y.shape or n < 2:
        raise ConfigError(f"shapes {x.shape}, {y.shape} must be equal, with 2 or more rows")
    off = 1 - jnp.eye(n, dtype=x.dtype)
    within = inverse_multiquadric(x, x) + inverse_multiquadric(y, y)
    across = inverse_multiquadric(x, y)
    return jnp.sum(off * within) / (n * (n - 1)) - 2 * jnp.mean(across)


def permute_dimensions(key: Key[Array, ""], z: Float[Array, "B D"]) -> Float[Array, "B D"]:
    """Each dimension permuted on its own: from q(z) to the product of its marginals (kim2018)."""
    keys = jax.random.split(key, z.shape[1])
    return jax.vmap(lambda k, column: jax.random.permutation(k, column), (0, 1), 1)(keys, z)


def discriminate(first: Float[Array, "N"], second: Float[Array, "N"]) -> Float[Array, "N"]:
    """Logistic loss of a critic's logits on two sets, in nats; 2 log 2 for an ignorant one."""
    return jax.nn.softplus(-first) + jax.nn.softplus(second)
