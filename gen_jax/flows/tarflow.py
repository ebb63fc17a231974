"""TarFlow (zhai2025): masked autoregressive flow over patches, its maps from causal transformers.

The density is one pass; sampling goes patch by patch in one scan, or by Jacobi's iteration with all
patches at once. Training on noisy data, guidance and denoising belong to the model (`flow`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.errors import check_choice, check_range
from gen_jax.flows.autoregressive import fixed_point
from gen_jax.flows.bijector import Bijector, Guided, Layer, chain
from gen_jax.flows.density import log_density
from gen_jax.flows.elementwise import Elementwise, affine
from gen_jax.flows.multiscale import image_shape, squeeze
from gen_jax.nets import CausalTransformer
from gen_jax.types import Array, Float


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
        def raw(x):
            """The function's parameters [B, N, C, P] for tokens [B, N, C]."""
            apply = network(x.shape[-1]).apply
            if isinstance(condition, Guided):
                plain, told = (apply(params, x, c) for c in both_of(condition))
                out = plain + condition.weight * (told - plain)
            else:
                out = apply(params, x, condition)
            return out.reshape(*x.shape, function.size)

        def inverse(x):
            tokens = x.reshape(len(x), -1, x.shape[-1])
            z, log_slope = function.inverse(tokens, raw(tokens))
            return z.reshape(x.shape), log_slope.sum((1, 2))

        def forward(z):
            tokens = z.reshape(len(z), -1, z.shape[-1])
            step = lambda x: function.forward(tokens, raw(x))
            x, log_slope = TOKEN_INVERSIONS[inversion](step, tokens)
            return x.reshape(z.shape), log_slope.sum((1, 2))

        return Bijector(forward, inverse)

    return Layer(init, bijector)


def both_of(guided: Guided) -> tuple[Array, Array]:
    """The condition that says nothing, and the one that says something."""
    return jnp.zeros_like(guided.condition), guided.condition


def in_sequence(
    step: Callable[[Array], tuple[Array, Array]], z: Float[Array, "B N C"]
) -> tuple[Array, Array]:
    """x with x = step(x)[0], token by token: N passes in one scan."""

    def body(x, index):
        new, _ = step(x)
        token = jax.lax.dynamic_slice_in_dim(new, index, 1, 1)
        return jax.lax.dynamic_update_slice_in_dim(x, token, index, 1), None

    x, _ = jax.lax.scan(body, jnp.zeros_like(z), jnp.arange(z.shape[1]))
    return step(x)


TOKEN_INVERSIONS: dict[str, Callable[..., tuple[Array, Array]]] = {
    "sequential": in_sequence,
    "jacobi": lambda step, z: fixed_point(step, z, z.shape[1]),
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
