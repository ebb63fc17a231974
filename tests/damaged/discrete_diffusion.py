"""Models with one callable damaged: discrete diffusion."""

import numpy as np

from damaged.common import ADAM, LIKE_X, B, Damaged
from gen_jax import discrete_diffusion, nets

CALLABLES = {
    "discrete_diffusion.discrete_diffusion/network": (
        lambda f: discrete_diffusion.discrete_diffusion(
            Damaged(nets.TokenTransformer(4, 2, 8, 1, 2), f), ADAM, shape=(2,), size=3
        ),
        LIKE_X,
        {"x": np.arange(2 * B).reshape(B, 2) % 3},
    ),
}
