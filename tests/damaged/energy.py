"""Models with one callable damaged: energy."""

import numpy as np
from flax import linen as nn

from damaged.common import ADAM, LIKE_X, MLP, PER_POINT, POINTS, B, Damaged
from gen_jax import conditions, energy, nets
from gen_jax.energy import Annealing, ChainOptions

CHAINS = ChainOptions(num_steps=1, buffer_size=0)
ENERGY = {"shape": (2,), "annealing": Annealing(levels=2, chains=2)}


def energy_net():
    return nets.EnergyNet((8,))


CALLABLES = {
    "energy.ncsn/network": (
        lambda f: energy.ncsn(Damaged(MLP, f), ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "energy.ebm/network": (
        lambda f: energy.ebm(Damaged(energy_net(), f), ADAM, chains=CHAINS, **ENERGY),
        PER_POINT,
        POINTS,
    ),
    "energy.score_model/network": (
        lambda f: energy.score_model(Damaged(energy_net(), f), ADAM, **ENERGY),
        PER_POINT,
        POINTS,
    ),
    "energy.score_model/loss": (
        lambda f: energy.score_model(
            energy_net(),
            ADAM,
            loss=lambda key, score, x: f(energy.implicit(key, score, x)),
            **ENERGY,
        ),
        PER_POINT,
        POINTS,
    ),
    "energy.nce/network": (
        lambda f: energy.nce(Damaged(energy_net(), f), ADAM, **ENERGY),
        PER_POINT,
        POINTS,
    ),
    "energy.jem/network": (
        lambda f: energy.jem(
            Damaged(nn.Dense(3), f),
            ADAM,
            condition=conditions.labels(3),
            chains=CHAINS,
            **ENERGY,
        ),
        LIKE_X,
        {**POINTS, "y": np.arange(B) % 3},
    ),
}
