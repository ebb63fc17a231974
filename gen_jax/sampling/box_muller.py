"""Pairs of normal numbers from pairs of uniform ones (box1958; S2, "Box-Muller").

Both take uniforms in [0, 1], from any source, and never meet log(0).
"""

import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.types import Array, Float


@floats(u1="...", u2="...")
def box_muller(
    u1: Float[Array, "*shape"], u2: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """(R cos T, R sin T) with R = sqrt(-2 log u1) and T = 2 pi u2: two independent normals.

    u1 = 0 is read as the smallest positive number, so |z| stays below 13.2 in float32. A float32
    generator with 2^-k as its smallest step cannot pass sqrt(2 k log 2): 5.6 for k = 23.
    """
    radius = jnp.sqrt(-2 * jnp.log(jnp.maximum(u1, jnp.finfo(u1.dtype).tiny)))
    angle = 2 * jnp.pi * u2
    return radius * jnp.cos(angle), radius * jnp.sin(angle)


@floats(u1="T ...", u2="T ...")
def marsaglia_polar(
    u1: Float[Array, "T *shape"], u2: Float[Array, "T *shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Box-Muller without trigonometry (marsaglia1964): a point in the disc gives its own angle.

    With v = 2 u - 1 and s = v1^2 + v2^2 inside (0, 1): z = v sqrt(-2 log(s) / s). Shapes being
    fixed, each output has T candidates (the first axis) and takes the first inside; a candidate
    is outside with probability 1 - pi / 4. Where all T are, z is NaN: T = 16 leaves
    2e-11 of that, T = 24 8e-17.
    """
    v1, v2 = 2 * u1 - 1, 2 * u2 - 1
    s = v1**2 + v2**2
    inside = (s > 0) & (s < 1)
    first = jnp.argmax(inside, axis=0)[None]
    pick = lambda values: jnp.take_along_axis(values, first, axis=0)[0]
    found, v1, v2, s = map(pick, (inside, v1, v2, s))
    s = jnp.where(found, s, 0.5)
    scale = jnp.where(found, jnp.sqrt(-2 * jnp.log(s) / s), jnp.nan)
    return v1 * scale, v2 * scale
