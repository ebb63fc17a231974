"""Spherical linear interpolation: the arc between two vectors (shoemake1985)."""

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.types import Array, Bool, Float


@floats(start="*B D", end="*B D", share="...")
def slerp(
    start: Float[Array, "*B D"], end: Float[Array, "*B D"], share: float | Float[Array, ""]
) -> Float[Array, "*B D"]:
    """[sin((1 - t) w) start + sin(t w) end] / sin w, w the angle between them, t = `share`.

    The formula of shoemake1985 (sec. 3.3) for vectors of any length, as in the code of white2016:
    ends of one length are joined at that length, which a straight line between normal latents
    leaves. Where there is no arc, w = 0 or pi or an end of length 0, they are joined by the line.
    """
    dtype = jnp.result_type(start, end)
    start, end = (z.astype(jnp.promote_types(dtype, jnp.float32)) for z in (start, end))
    (u, some), (v, others) = _direction(start), _direction(end)
    apart, together = (jnp.sum(z**2, -1, keepdims=True) for z in (u - v, u + v))
    arc = some & others & (apart > 1e-8) & (together > 1e-8)
    # Of chords and not of a cosine, which says nothing of small angles.
    angle = 2 * jnp.arctan2(*(jnp.sqrt(jnp.where(arc, s, 1)) for s in (apart, together)))
    weight = lambda t: jnp.where(arc, jnp.sin(t * angle) / jnp.sin(angle), t)
    return (weight(1 - share) * start + weight(share) * end).astype(dtype)


def _direction(z: Float[Array, "*B D"]) -> tuple[Float[Array, "*B D"], Bool[Array, "*B 1"]]:
    """z / |z|, and whether it has one; of any size: the squares of 1e-30 would be 0."""
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(z), -1, keepdims=True))
    z = z / jnp.where(size > 0, size, 1)
    square = jnp.sum(z**2, -1, keepdims=True)
    return z / jnp.sqrt(jnp.where(square > 0, square, 1)), square > 0
