"""Orders of the coordinates, between layers that treat them unequally; log-determinant 0."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from gen_jax.errors import check_range
from gen_jax.flows.bijector import Bijector, Layer, vectors


def reverse() -> Layer:
    """The last coordinate first."""
    return _ordered(lambda dim: np.arange(dim)[::-1])


def interleave(groups: int = 2) -> Layer:
    """Every `groups`-th coordinate first, so that neighbours part."""
    check_range("groups", groups, 2, integer=True)
    return _ordered(lambda dim: np.concatenate([np.arange(i, dim, groups) for i in range(groups)]))


def shuffle(seed: int = 0) -> Layer:
    """A random order, fixed by the seed and the dimension."""
    check_range("seed", seed, 0, integer=True)
    return _ordered(lambda dim: np.random.default_rng(seed).permutation(dim))


def _ordered(order: Callable[[int], np.ndarray]) -> Layer:
    def take(index):
        def run(x):
            return x[:, index(x.shape[1])], jnp.zeros(x.shape[:1], x.dtype)

        return run

    bijector = Bijector(take(order), take(lambda dim: np.argsort(order(dim))))

    def init(key, dim, extra=0):
        vectors(dim)
        return ()

    return Layer(init, lambda params, condition=None: bijector)
