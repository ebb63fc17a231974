"""An autoregressive network as the product of conditionals it stands for.

    p(x) = mean over k of prod_i p(x[order_k(i)] | x[order_k(0)], ..., x[order_k(i - 1)])

over K orderings that share their parameters; most networks have one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gen_jax.autoregressive.decoding import Decoder
from gen_jax.types import Array


class Factorisation(NamedTuple):
    """The units of an example are its N places, [B, N, E] in all.

    Fields:
      init: `(key, condition or None) -> params`.
      raw: `(params, x [B, N, E], condition, k, **training) -> [B, N, P]`: the numbers of each
        place, from those before it in ordering k. `training` is what dropout needs.
      orders: [K, N] places in the order they are generated.
      decoder: `(params, condition, k) -> Decoder` for fast generation in ordering k, or None.
    """

    init: Callable[..., Any]
    raw: Callable[..., Array]
    orders: np.ndarray
    decoder: Callable[..., Decoder] | None = None


def full_pass(
    factorisation: Factorisation, params: Any, condition, k: int, shape: tuple[int, int], dtype: Any
) -> Decoder:
    """The decoder of any network: one call for all places per place; shape is [N, E]."""
    order = jnp.asarray(factorisation.orders[k])

    def start(batch):
        return jnp.zeros((batch, *shape), dtype)

    def step(x, index, previous):
        known = x.at[:, order[index - 1]].set(previous)
        x = jnp.where(index > 0, known, x)
        return factorisation.raw(params, x, condition, k)[:, order[index]], x

    return Decoder(start, step)
