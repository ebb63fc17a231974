"""Values that no function takes, and calls to be made later."""

import jax
import numpy as np

KEY, NAN = jax.random.key(0), float("nan")
X = np.random.default_rng(0).normal(size=(12, 3))
BAD = np.full((12, 3), NAN)
WORDS = np.array([["a", "b"]] * 12)
MASKED = np.ma.masked_less(X, 0)
KEYS = jax.random.split(KEY, 3)
IMAGE = np.zeros((8, 8, 1), np.float32)


def at(function, *places, **named):
    """A call, to be made later."""
    return lambda: function(*places, **named)
