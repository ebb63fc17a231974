"""Models with one callable damaged: VAEs."""

import jax.numpy as jnp
import numpy as np

from damaged.common import ADAM, IMAGES, LIKE_X, POINTS, B, Damaged
from gen_jax import conditions, data, vae

WIDE = lambda make: lambda damage: lambda size: Damaged(make(size), damage)
CODER = {"shape": (2,), "latent": 2, "likelihood": "gaussian"}


def vq(damage):
    good = vae.independent_codes(4, 4)
    step = lambda key, state, batch: (
        state,
        {"loss": damage(good.log_prob(key, state, batch["x"]))},
    )
    options = {"shape": (8, 8, 1), "codes": 4, "dim": 2, "width": 4}
    return vae.vqvae(ADAM, good._replace(step=step), transform=data.integers(), **options)


MLP_WIDE = WIDE(vae.mlp((8,)))
CALLABLES = {
    "vae.vae/encoder": (
        lambda f: vae.vae(MLP_WIDE(f), vae.mlp((8,)), ADAM, **CODER),
        {**LIKE_X, "two more": lambda out: jnp.concatenate([out, out[:, :2]], 1)},
        POINTS,
    ),
    "vae.vae/decoder": (
        lambda f: vae.vae(vae.mlp((8,)), MLP_WIDE(f), ADAM, **CODER),
        LIKE_X,
        POINTS,
    ),
    "vae.semi_supervised/classifier": (
        lambda f: vae.semi_supervised(
            vae.mlp((8,)), vae.mlp((8,)), MLP_WIDE(f), ADAM, condition=conditions.labels(3), **CODER
        ),
        LIKE_X,
        {**POINTS, "y": np.arange(B) % 4},
    ),
    "vae.discrete_vae/encoder": (
        lambda f: vae.discrete_vae(
            MLP_WIDE(f), vae.mlp((8,)), ADAM, shape=(2,), likelihood="gaussian", variables=2
        ),
        LIKE_X,
        POINTS,
    ),
    "vae.discrete_vae/decoder": (
        lambda f: vae.discrete_vae(
            vae.mlp((8,)), MLP_WIDE(f), ADAM, shape=(2,), likelihood="gaussian", variables=2
        ),
        LIKE_X,
        POINTS,
    ),
    "vae.vqvae/prior": (
        vq,
        {"a column": lambda out: out},
        IMAGES,
    ),
}
