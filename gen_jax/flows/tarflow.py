"""TarFlow (zhai2025): masked autoregressive flow over patches, its maps from causal transformers.

The density is one pass; sampling goes patch by patch in one scan that keeps keys and values, or by
Jacobi's iteration with all patches at once. Training on noisy data, guidance and denoising belong
to the model (`flow`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import check_choice, check_range
from gen_jax.flows.autoregressive import fixed_point
from gen_jax.flows.bijector import Bijector, Guided, Layer, chain
from gen_jax.flows.density import log_density
from gen_jax.flows.elementwise import Elementwise, affine
from gen_jax.flows.multiscale import image_shape, squeeze
from gen_jax.nets import CausalTransformer
from gen_jax.nets.cached_attention import Cache, attention_at, empty_cache
from gen_jax.types import Array, Float, State


def reverse_tokens() -> Layer:
    """The last pixel of [B, H, W, C] first."""

    def turn(x):
        return x[:, ::-1, ::-1], jnp.zeros(len(x), x.dtype)

    bijector = Bijector(turn, turn)
    return Layer(lambda key, shape, extra=0: (), lambda params, condition=None: bijector)


def causal_affine(
    width: int = 64,
    depth: int = 2,
    heads: int = 2,
    inversion: str = "sequential",
    function: Elementwise | None = None,
) -> Layer:
    """Pixels of [B, H, W, C], row by row: x_i = h(z_i; c(x_<i)), all channels at once, h affine.

    Args:
      width, depth, heads: of the transformer.
      inversion: "sequential" or "jacobi", for the way from the base to the data.
    """
    check_choice("inversion", inversion, TOKEN_INVERSIONS)
    function = function or affine()

    def network(channels):
        return CausalTransformer(channels * function.size, width, depth, heads)

    def init(key, shape, extra=0):
        condition = jnp.zeros((1, extra)) if extra else None
        h, w, c = image_shape(shape)
        return network(c).init(key, jnp.zeros((1, h * w, c)), condition)

    def bijector(params, condition=None):
        reader = lambda x: _reader(network(x.shape[-1]), params, condition, function.size)

        def inverse(x):
            tokens = x.reshape(len(x), -1, x.shape[-1])
            z, log_slope = function.inverse(tokens, reader(x).whole(tokens))
            return z.reshape(x.shape), log_slope.sum((1, 2))

        def forward(z):
            tokens = z.reshape(len(z), -1, z.shape[-1])
            x, log_slope = TOKEN_INVERSIONS[inversion](function, reader(z), tokens)
            return x.reshape(z.shape), log_slope.sum((1, 2))

        return Bijector(forward, inverse)

    return Layer(init, bijector)


class Reader(NamedTuple):
    """Raw parameters of the tokens' maps.

    Fields:
      whole: `(x [B, N, C]) -> [B, N, C, P]`, each token's from those before it.
      start: `(x) -> caches` for tokens of this number and type.
      one: `(caches, i, previous [B, 1, C], N) -> ([B, 1, C, P], caches)`, those of token i.
    """

    whole: Callable[[Array], Array]
    start: Callable[[Array], list[Cache]]
    one: Callable[[list[Cache], Array, Array, int], tuple[Array, list[Cache]]]


def _reader(network: CausalTransformer, params: State, condition: Any, size: int) -> Reader:
    """A network with its condition, or with two, of which the guided one is extrapolated."""
    guided = isinstance(condition, Guided)
    conditions = both_of(condition) if guided else (condition,)

    def mixed(outputs):
        out = outputs[0]
        if guided:
            out = out + condition.weight * (outputs[1] - out)
        return out.reshape(*out.shape[:2], -1, size)

    def whole(x):
        return mixed([network.apply(params, x, c) for c in conditions])

    def start(x):
        return [empty_cache(network, len(x), x.shape[1], params) for _ in conditions]

    def one(caches, index, previous, num):
        outputs, kept = [], []
        for cache, c in zip(caches, conditions):
            attention, cache = attention_at(index, cache)
            place = index, num
            outputs.append(network.apply(params, previous, c, place=place, attention=attention))
            kept.append(cache)
        return mixed(outputs), kept

    return Reader(whole, start, one)


def both_of(guided: Guided) -> tuple[Array, Array]:
    """The condition that says nothing, and the one that says something."""
    return jnp.zeros_like(guided.condition), guided.condition


def in_sequence(
    function: Elementwise, reader: Reader, z: Float[Array, "B N C"]
) -> tuple[Array, Array]:
    """x with x_i = h(z_i; c(x_<i)), token by token in one scan; keys and values are kept."""
    num = z.shape[1]

    def body(carry, index):
        caches, previous = carry
        raw, caches = reader.one(caches, index, previous, num)
        known = jax.lax.dynamic_slice_in_dim(z, index, 1, 1)
        token, log_slope = function.forward(known, raw.astype(z.dtype))
        return (caches, token), (token[:, 0], log_slope[:, 0])

    start = reader.start(z), jnp.zeros_like(z[:, :1])
    _, (x, log_slope) = jax.lax.scan(body, start, jnp.arange(num))
    return x.swapaxes(0, 1), log_slope.swapaxes(0, 1)


def at_once(function: Elementwise, reader: Reader, z: Float[Array, "B N C"]) -> tuple[Array, Array]:
    """The same for all tokens at once, by Jacobi's iteration; see `fixed_point`."""
    solve = lambda x: function.forward(z, reader.whole(x).astype(z.dtype))
    return fixed_point(solve, z, z.shape[1])


TOKEN_INVERSIONS: dict[str, Callable[..., tuple[Array, Array]]] = {
    "sequential": in_sequence,
    "jacobi": at_once,
}
"""How the tokens are found from the base, by name."""


def tarflow(
    patch: int = 4,
    layers: int = 4,
    width: int = 64,
    depth: int = 2,
    heads: int = 2,
    inversion: str = "sequential",
) -> Layer:
    """`layers` causal transformers over patches, every second one from the last patch backwards."""
    check_range("layers", layers, 1, integer=True)
    one = causal_affine(width, depth, heads, inversion)
    return chain(*((one, reverse_tokens()) * layers)[:-1], squeeze(patch))


def denoise(bijector: Bijector, x: Float[Array, "B ..."], std: float) -> Float[Array, "B ..."]:
    """E[clean | x] = x + std^2 grad log p(x) for p the law of data with noise of this std (zhai2025
    eq. 9; Tweedie), with the flow's log-density for log p.
    """
    score = jax.grad(lambda x: log_density(bijector, x).sum())(x)
    return x + std**2 * score
