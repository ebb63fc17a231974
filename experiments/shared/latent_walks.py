"""Walks in a straight line between the latents of images, as a flow of images sees them."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data import Transform
from gen_jax.flows import Bijector


def walks(bijector: Bijector, units: Transform, ends: np.ndarray, steps: int = 10) -> np.ndarray:
    """`steps` images from each of the first half of `ends` to one of the second, row by row.

    Args:
      bijector: of a trained flow, such as `flows.bijector(model, state)`.
      units: between data units and the flow's.
    """

    @jax.jit
    def run(x):
        z, _ = bijector.inverse(units.encode(jax.random.key(0), x))
        first, second = jnp.split(z[:, None], 2)
        share = jnp.linspace(0, 1, steps).reshape(-1, *(1,) * (z.ndim - 1))
        way = (first + share * (second - first)).reshape(-1, *z.shape[1:])
        return units.decode(bijector.forward(way)[0])

    return np.asarray(run(jnp.asarray(ends)))
