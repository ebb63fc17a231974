"""Walks in a straight line between the latents of images, as a flow of images sees them."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data import Transform
from gen_jax.flows import Layer
from gen_jax.types import State


def walks(
    layer: Layer, units: Transform, classes: int, params: State, ends: np.ndarray, steps: int = 10
) -> np.ndarray:
    """`steps` images from each of the first half of `ends` to one of the second, row by row.

    Args:
      units: between data units and the flow's.
      classes: width of the flow's condition, which is left at "no label".
    """

    def bijector(n):
        return layer.bijector(params, jnp.zeros((n, classes)) if classes else None)

    @jax.jit
    def run(x):
        z, _ = bijector(len(x)).inverse(units.encode(jax.random.key(0), x))
        first, second = jnp.split(z[:, None], 2)
        share = jnp.linspace(0, 1, steps).reshape(-1, *(1,) * (z.ndim - 1))
        way = (first + share * (second - first)).reshape(-1, *z.shape[1:])
        return units.decode(bijector(len(way)).forward(way)[0])

    return np.asarray(run(jnp.asarray(ends)))
