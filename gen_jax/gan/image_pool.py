"""A pool of generated images: the critic sees old ones too, so that it does not forget what the
generator has stopped making (shrivastava2017, zhu2017 sec. 4).

The images come one by one. While the pool is not full, each is stored and returned. After that,
with probability 1/2 the image is returned; else a uniformly drawn row of the pool is returned and
the image takes its place.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.types import Array, Float, Int, Key


class ImagePool(NamedTuple):
    """Images that were generated before.

    Fields:
      images: [P, ...]; rows from `filled` on mean nothing yet.
      filled: images stored so far, at most P.
    """

    images: Float[Array, "P ..."]
    filled: Int[Array, ""]


def empty_pool(size: int, shape: tuple[int, ...], dtype=jnp.float32) -> ImagePool:
    """A pool for `size` images of this shape; of size 0, one that returns every image at once."""
    check_range("pool_size", size, 0, integer=True)
    return ImagePool(jnp.zeros((size, *shape), dtype), jnp.zeros((), jnp.int32))


def exchange(
    key: Key[Array, ""], pool: ImagePool, x: Float[Array, "B ..."]
) -> tuple[ImagePool, Float[Array, "B ..."]]:
    """The pool after the images x, and what it returns for each of them [B, ...]."""
    size = len(pool.images)
    if size == 0:
        return pool, x

    def one(pool: ImagePool, row: tuple[Array, Array]) -> tuple[ImagePool, Array]:
        key, image = row
        key_keep, key_slot = jax.random.split(key)
        filling = pool.filled < size
        swap = ~filling & jax.random.bernoulli(key_keep)
        slot = jnp.where(filling, pool.filled, jax.random.randint(key_slot, (), 0, size))
        old = pool.images[slot]
        stored = pool.images.at[slot].set(jnp.where(filling | swap, image, old))
        filled = jnp.minimum(pool.filled + 1, size)
        return ImagePool(stored, filled), jnp.where(swap, old, image)

    return jax.lax.scan(one, pool, (jax.random.split(key, len(x)), x))
