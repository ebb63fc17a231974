"""Coupling layers: one part of the coordinates stays and decides how the others move.

NICE with shifts (dinh2015), RealNVP with affine maps (dinh2017), splines (durkan2019,
dolatabadi2020). Both directions cost one call of the network.
"""

from collections.abc import Callable

import jax.numpy as jnp

from gen_jax.errors import ConfigError, check_choice
from gen_jax.flows.bijector import Bijector, Layer, vectors, with_condition
from gen_jax.flows.elementwise import Elementwise
from gen_jax.nets import Feedforward
from gen_jax.types import Array, Float

MASKS: dict[str, Callable[[int], tuple[slice, slice]]] = {
    "first_half": lambda dim: (slice(0, dim // 2), slice(dim // 2, dim)),
    "second_half": lambda dim: (slice(dim // 2, dim), slice(0, dim // 2)),
    "even": lambda dim: (slice(0, dim, 2), slice(1, dim, 2)),
    "odd": lambda dim: (slice(1, dim, 2), slice(0, dim, 2)),
}
"""`dim -> (which coordinates stay, which move)`, by name; XLA is slow with arrays of indices."""


def _replace(x: Float[Array, "B D"], moves: slice, moved: Float[Array, "B M"]) -> Array:
    """x with other values in one slice; for a slice in one piece a concatenation is the fastest."""
    if moves.step is not None:
        return x.at[:, moves].set(moved)
    return jnp.concatenate([x[:, : moves.start], moved, x[:, moves.stop :]], 1)


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
        return MASKS[mask](dim)

    def sizes(dim):
        return [len(range(dim)[part]) for part in parts(dim)]

    def network(dim):
        return Feedforward(sizes(dim)[1] * function.size, hidden)

    def init(key, dim, extra=0):
        return network(dim).init(key, jnp.zeros((1, sizes(dim)[0] + extra)))

    def bijector(params, condition=None):
        def apply(one):
            def run(x):
                stays, moves = parts(x.shape[1])
                seen, part = with_condition(x[:, stays], condition), x[:, moves]
                raw = network(x.shape[1]).apply(params, seen)
                moved, log_slope = one(part, raw.reshape(*part.shape, function.size))
                return _replace(x, moves, moved), log_slope.sum(-1)

            return run

        return Bijector(apply(function.forward), apply(function.inverse))

    return Layer(init, bijector)
