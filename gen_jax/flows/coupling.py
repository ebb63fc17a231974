"""Coupling layers: one part of the coordinates stays and decides how the others move.

NICE with shifts (dinh2015), RealNVP with affine maps (dinh2017), splines (durkan2019,
dolatabadi2020). Both directions cost one call of the network.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError, check_choice
from gen_jax.flows.bijector import Bijector, Layer, vectors, with_condition
from gen_jax.flows.elementwise import Elementwise
from gen_jax.nets import Feedforward

MASKS: dict[str, Callable[[int], np.ndarray]] = {
    "first_half": lambda dim: np.arange(dim) < dim // 2,
    "second_half": lambda dim: np.arange(dim) >= dim // 2,
    "even": lambda dim: np.arange(dim) % 2 == 0,
    "odd": lambda dim: np.arange(dim) % 2 == 1,
}
"""Which coordinates stay, by name: `dim -> bool [dim]`."""


def coupling(
    function: Elementwise, mask: str = "first_half", hidden: tuple[int, ...] = (64, 64)
) -> Layer:
    """Coordinates outside the mask move by `function`, with parameters from those inside.

    Raises ConfigError for unknown masks and, in `init`, for fewer than two dimensions.
    """
    check_choice("mask", mask, MASKS)

    def parts(dim):
        if vectors(dim) < 2:
            raise ConfigError(f"dim={dim} must be at least 2 for a coupling layer")
        stays = MASKS[mask](dim)
        return np.flatnonzero(stays), np.flatnonzero(~stays)

    def network(dim):
        return Feedforward(len(parts(dim)[1]) * function.size, hidden)

    def init(key, dim, extra=0):
        return network(dim).init(key, jnp.zeros((1, len(parts(dim)[0]) + extra)))

    def bijector(params, condition=None):
        def apply(one):
            def run(x):
                stays, moves = parts(x.shape[1])
                seen = with_condition(x[:, stays], condition)
                raw = network(x.shape[1]).apply(params, seen)
                raw = raw.reshape(len(x), len(moves), function.size)
                moved, log_slope = one(x[:, moves], raw)
                return x.at[:, moves].set(moved), log_slope.sum(-1)

            return run

        return Bijector(apply(function.forward), apply(function.inverse))

    return Layer(init, bijector)
