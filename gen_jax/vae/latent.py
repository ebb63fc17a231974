"""Points of the latent space to decode for pictures: manifolds, traversals, interpolations."""

import jax
import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.sampling import inverse_cdf, slerp
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
    """From a to b in equal steps t, on the line, or on the arc of `sampling.slerp` (white2016).

    The latter keeps to lengths that a Gaussian prior has.
    """
    check_range("steps", steps, 2, integer=True)
    line = lambda a, b, t: (1 - t) * a + t * b
    point = slerp if spherical else line
    return jax.vmap(point, (None, None, 0), -2)(a, b, jnp.linspace(0, 1, steps))
