"""Models with one callable damaged: diffusion."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from damaged.common import ADAM, LIKE_X, MLP, PER_POINT, POINTS, B, Damaged
from gen_jax import diffusion, paths


class Logits(nn.Module):
    """Logits and features of noisy points, as a classifier returns them."""

    @nn.compact
    def __call__(self, x, noise=None):
        return nn.Dense(3)(x), x


CALLABLES = {
    "diffusion.diffusion/network": (
        lambda f: diffusion.diffusion(Damaged(MLP, f), "linear", ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "diffusion.diffusion/source": (
        lambda f: diffusion.diffusion(
            MLP, "linear", ADAM, shape=(2,), source=lambda k: f(jax.random.normal(k, (2,)))
        ),
        LIKE_X,
        POINTS,
    ),
    "diffusion.diffusion/time_density": (
        lambda f: diffusion.diffusion(
            MLP,
            "vp",
            ADAM,
            shape=(2,),
            time_density=lambda k, p, n: f(jnp.linspace(0.1, 0.9, n)),
        ),
        {name: PER_POINT[name] for name in ("a column", "a mean")},
        POINTS,
    ),
    "diffusion.diffusion/weighting": (
        lambda f: diffusion.diffusion(
            MLP, "vp", ADAM, shape=(2,), weighting=lambda c, kind, sd: f(c.alpha)
        ),
        {name: PER_POINT[name] for name in ("a column", "a mean")},
        POINTS,
    ),
    "diffusion.variational_diffusion/network": (
        lambda f: diffusion.variational_diffusion(Damaged(MLP, f), ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "diffusion.noisy_classifier/network": (
        lambda f: diffusion.noisy_classifier(
            Damaged(Logits(), lambda out: (f(out[0]), out[1])),
            paths.linear(),
            ADAM,
            shape=(2,),
            num_classes=3,
        ),
        LIKE_X,
        {**POINTS, "y": np.arange(B) % 3},
    ),
}
