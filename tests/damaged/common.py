"""Data, damages and networks that the rows of several families share; `fit` on few examples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from gen_jax import nets, training

ADAM, B = optax.adam(1e-3), 6
POINTS = {"x": np.random.default_rng(0).uniform(-1, 1, (B, 2)).astype(np.float32)}
IMAGES = {"x": np.random.default_rng(1).integers(0, 256, (B, 8, 8, 1)).astype(np.uint8)}
LIKE_X = {
    "one column": lambda out: out[..., :1],
    "a further axis": lambda out: out[..., None],
    "whole numbers": lambda out: out.astype(jnp.int32),
    "a sum": lambda out: out.sum(),
    "a pair": lambda out: (out, out),
}
PER_POINT = {
    "a column": lambda out: out[:, None],
    "a mean": lambda out: out.mean(),
    "whole numbers": lambda out: out.astype(jnp.int32),
    "all pairs": lambda out: out[:, None] - out,
}


class Damaged(nn.Module):
    """A network with something done to its output."""

    network: nn.Module
    damage: object

    def __call__(self, *inputs, **options):
        return self.damage(self.network(*inputs, **options))


MLP = nets.MLP((8, 8))


def fit(model, arrays, **options):
    options = {"steps": 1, "batch_size": B, "progress": False} | options
    return training.fit(jax.random.key(0), model, arrays, **options)
