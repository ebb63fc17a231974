"""Points of the latent space to decode for pictures: manifolds, traversals, interpolations."""

import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.sampling import inverse_cdf
from gen_jax.types import Array, Float


def manifold(resolution: int = 20) -> Float[Array, "N 2"]:
    """A square grid of equal prior probability per cell: z = Phi^-1(u) (kingma2014, figure 4).

    Rows run from high to low z_1, columns from low to high z_0; N = resolution^2.
    """
    check_range("resolution", resolution, 1, integer=True)
    z = inverse_cdf.normal((jnp.arange(resolution) + 0.5) / resolution)
    rows, columns = jnp.meshgrid(z[::-1], z, indexing="ij")
    return jnp.stack([columns.ravel(), rows.ravel()], -1)


def traversal(z: Float[Array, "D"], steps: int = 9, reach: float = 2.5) -> Float[Array, "D S D"]:
    """For each dimension, z with that one replaced by `steps` values from -reach to reach."""
    check_range("steps", steps, 2, integer=True)
    dim = z.shape[0]
    values = jnp.linspace(-reach, reach, steps)
    chosen = jnp.eye(dim, dtype=bool)[:, None]
    return jnp.where(chosen, values[None, :, None], jnp.broadcast_to(z, (dim, steps, dim)))


def interpolate(
    a: Float[Array, "*B D"], b: Float[Array, "*B D"], steps: int = 9, spherical: bool = False
) -> Float[Array, "*B S D"]:
    """From a to b in equal steps, on the line, or on the great circle (white2016).

    The latter keeps to lengths that a Gaussian prior has; lengths change geometrically.
    """
    check_range("steps", steps, 2, integer=True)
    t = jnp.linspace(0, 1, steps)[:, None]
    a, b = a[..., None, :], b[..., None, :]
    if not spherical:
        return (1 - t) * a + t * b
    norm_a, norm_b = (jnp.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
    unit_a, unit_b = a / norm_a, b / norm_b
    cosine = jnp.clip(jnp.sum(unit_a * unit_b, -1, keepdims=True), -1, 1)
    angle = jnp.maximum(jnp.arccos(cosine), 1e-6)
    weights = (jnp.sin((1 - t) * angle), jnp.sin(t * angle))
    direction = (weights[0] * unit_a + weights[1] * unit_b) / jnp.sin(angle)
    return norm_a ** (1 - t) * norm_b**t * direction
