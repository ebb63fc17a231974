"""Autoregressive layers: each block of coordinates moves by what came before it.

One direction is a single call of a masked network (`nets.MADE`); the other goes block by block, in
one `lax.scan` that evaluates one block's outputs per step, or by Jacobi's fixed point in parallel.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.errors import check_choice
from gen_jax.flows.bijector import Bijector, Layer, vectors
from gen_jax.flows.elementwise import Elementwise
from gen_jax.nets import MADE
from gen_jax.types import Array, State

Step = Callable[[Array, Array], tuple[Array, Array]]


def inverse_autoregressive(
    function: Elementwise,
    hidden: tuple[int, ...] = (64, 64),
    block: int = 1,
    inversion: str = "sequential",
) -> Layer:
    """IAF (kingma2016): x_i = h(z_i; c(z_<i)). Sampling is one call, the density goes in steps.

    Args:
      block: coordinates per block; those of one block do not see each other. Must divide D.
      inversion: "sequential" or "jacobi"; the latter passes no gradient in reverse mode.
    """
    return _layer(function, hidden, block, inversion, data_first=False)


def masked_autoregressive(
    function: Elementwise,
    hidden: tuple[int, ...] = (64, 64),
    block: int = 1,
    inversion: str = "sequential",
) -> Layer:
    """MAF (papamakarios2017): x_i = h(z_i; c(x_<i)). The density is one call, sampling in steps.

    Arguments are those of `inverse_autoregressive`.
    """
    return _layer(function, hidden, block, inversion, data_first=True)


def _layer(function, hidden, block, inversion, data_first) -> Layer:
    check_choice("inversion", inversion, INVERSIONS)
    network = lambda dim, extra: MADE(dim, function.size, hidden, block, extra)
    undo, do = function.forward, function.inverse
    if not data_first:
        undo, do = do, undo

    def init(key, dim, extra=0):
        return network(vectors(dim), extra).init(
            key, jnp.zeros((1, dim)), jnp.zeros((1, extra)) if extra else None
        )

    def bijector(params, condition=None):
        extra = 0 if condition is None else condition.shape[-1]

        def parallel(x):
            y, log_slope = do(x, network(x.shape[1], extra).apply(params, x, condition))
            return y, log_slope.sum(-1)

        def in_steps(y):
            return INVERSIONS[inversion](network(y.shape[1], extra), params, undo, y, condition)

        return Bijector(in_steps, parallel) if data_first else Bijector(parallel, in_steps)

    return Layer(init, bijector)


def sequential(
    network: MADE, params: State, undo: Step, y: Array, condition: Array | None = None
) -> tuple[Array, Array]:
    """x with y_i = h(x_i; c(x_<i)) block by block: D / block evaluations of one block each."""
    block = network.block

    def body(carry, index):
        x, log_det = carry
        out = network.apply(params, x, index, condition, method="one_block")
        raw: Array = out  # type: ignore[assignment]
        known = jax.lax.dynamic_slice_in_dim(y, index * block, block, 1)
        part, log_slope = undo(known, raw.astype(y.dtype))
        x = jax.lax.dynamic_update_slice_in_dim(x, part, index * block, 1)
        return (x, log_det + log_slope.sum(-1)), None

    start = (jnp.zeros_like(y), jnp.zeros(y.shape[:1], y.dtype))
    return jax.lax.scan(body, start, jnp.arange(network.dim // block))[0]


def jacobi(
    network: MADE, params: State, undo: Step, y: Array, condition: Array | None = None
) -> tuple[Array, Array]:
    """The same by x <- undo(y; c(x)) for all blocks at once; see `fixed_point`."""

    def solve(x):
        raw: Array = network.apply(params, x, condition)  # type: ignore[assignment]
        return undo(y, raw.astype(y.dtype))

    x, log_slope = fixed_point(solve, y, network.dim // network.block)
    return x, log_slope.sum(-1)


def fixed_point(
    solve: Callable[[Array], tuple[Array, Array]],
    y: Array,
    limit: int,
    tolerance: float | None = None,
) -> tuple[Array, Array]:
    """`solve(x)` at x [B, ...] with x = solve(x)[0], by Jacobi's iteration from 0 (song2021jacobi).

    Exact after `limit` iterations of a triangular map of so many blocks; ends before when no
    coordinate moves by more than the tolerance, by default 8 eps max(|x|, 1).
    """
    tolerance = 8 * float(jnp.finfo(y.dtype).eps) if tolerance is None else tolerance

    def body(carry):
        x, _, count = carry
        new, _ = solve(x)
        moved = jnp.any(jnp.abs(new - x) > tolerance * jnp.maximum(jnp.abs(new), 1))
        return new, moved, count + 1

    going = lambda carry: carry[1] & (carry[2] < limit)
    x, _, _ = jax.lax.while_loop(going, body, (jnp.zeros_like(y), jnp.bool_(True), 0))
    return solve(x)


INVERSIONS: dict[str, Callable[..., tuple[Array, Array]]] = {
    "sequential": sequential,
    "jacobi": jacobi,
}
"""How an autoregressive map is inverted, by name."""
