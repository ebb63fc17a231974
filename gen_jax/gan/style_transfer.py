"""Adaptive instance normalisation: the content of one image in the style of another (huang2017).

The style of an image is the mean and the standard deviation of each of its feature maps, its
content what is left. `adain` gives the maps of one image the style of another; a decoder is trained
to make an image of them, by

    |f(g(t)) - t|^2 + style_weight sum_i |mean_i(g(t)) - mean_i(s)|^2 + |std_i(g(t)) - std_i(s)|^2

with t = adain(f(c), f(s)), i over layers of a fixed network, and f the last of them (eq. 11-13).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from gen_jax.checks import check_output, no_type_check
from gen_jax.errors import check_range
from gen_jax.gan.translation import (
    apply,
    check_images,
    check_pair,
    check_weights,
    checked_sources,
    draw_sources,
    first_memory,
    init_params,
    join_pair,
    remember,
    split_pair,
    units,
)
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float

Maps = Sequence[Float[Array, "B ..."]]
"""Feature maps [B, h, w, F] of several layers, from fine to coarse."""

EPSILON = 1e-5
"""Added to variances, so that a flat map has a gradient."""


def map_moments(
    h: Float[Array, "B h w F"],
) -> tuple[Float[Array, "B 1 1 F"], Float[Array, "B 1 1 F"]]:
    """Mean and standard deviation of each map of each image."""
    mean, variance = h.mean((1, 2), keepdims=True), h.var((1, 2), keepdims=True)
    return mean, jnp.sqrt(variance + EPSILON)


def adain(
    content: Float[Array, "B h w F"], style: Float[Array, "B h2 w2 F"]
) -> Float[Array, "B h w F"]:
    """The maps of `content` with the mean and the deviation of those of `style` (eq. 8)."""
    mean, std = map_moments(content)
    style_mean, style_std = map_moments(style)
    return style_std * (content - mean) / std + style_mean


def content_loss(h: Float[Array, "B ..."], target: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Mean squared difference of feature maps (eq. 12)."""
    return jnp.mean((h - target) ** 2, tuple(range(1, h.ndim)))


def style_loss(maps: Maps, style: Maps) -> Float[Array, "B"]:
    """Squared differences of the maps' means and deviations, averaged over maps (eq. 13)."""
    pairs = [zip(map_moments(h), map_moments(s)) for h, s in zip(maps, style)]
    return sum(
        (jnp.mean((a - b) ** 2, (1, 2, 3)) for pair in pairs for a, b in pair),
        start=jnp.zeros(len(maps[0])),
    )


def objective(
    features: Callable[[Array], Maps],
    decode: Callable[[Array], Array],
    content: Float[Array, "B H W C"],
    style: Float[Array, "B H W C"],
    style_weight: float = 10.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """What the decoder minimises, per pair, and its parts."""
    wanted = features(style)
    target = adain(features(content)[-1], wanted[-1])
    found = features(decode(target))
    parts = {"content": content_loss(found[-1], target), "style": style_loss(found, wanted)}
    return parts["content"] + style_weight * parts["style"], parts


@no_type_check
def style_transfer(
    features: Callable[[Array], Maps],
    decoder: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    style_weight: float = 10.0,
    ema_decay: float = 0.999,
    transform: Any = None,
) -> GenerativeModel:
    """Style transfer as a `GenerativeModel` of images side by side: content left, style right.

    Args:
      features: of a fixed network, in the transform's units, from fine to coarse.
      decoder: from the coarsest maps to an image [B, H, W, C].
      shape: (H, 2 W, C).
    `sample(key, state, n, source=None, style=None, strength=1.0)` returns the contents, beside them
    in their new style; images are [n, H, W, C] in data units, or drawn from those seen lately.
    `strength` mixes maps of content (0) and target (1). The data's pairs need not belong together.
    Raises ConfigError for options that cannot work.
    """
    image = check_pair(shape)
    check_weights(style_weight=style_weight)
    check_range("ema_decay", ema_decay, 0, 1)
    encode, to_data = units(transform)

    def draw(params, maps):
        return check_output("decoder", apply(decoder, params, maps), (len(maps), *image))

    def init(key, batch):
        check_images(shape, transform, batch)
        coarse = jnp.zeros(jax.eval_shape(features, jnp.zeros((1, *image)))[-1].shape)
        state = init_state_with_ema(init_params(decoder, "decoder", key, coarse), optimizer)
        return state, first_memory(batch["x"])

    def step(key, state, batch):
        decoding, memory = state
        content, style = split_pair(encode(key, batch["x"]))

        def loss(params):
            return objective(features, partial(draw, params), content, style, style_weight)

        decoding, metrics = optimizer_step_with_ema(loss, optimizer, ema_decay, decoding)
        return (decoding, remember(memory, batch["x"])), metrics

    def sample(key, state: tuple[AveragedState, Array], n, source=None, style=None, strength=1.0):
        keys, (decoding, memory) = sample_keys(key, n), state
        drawn = split_pair(draw_sources(fold_in(keys, 0), memory))
        given = [d if x is None else x for x, d in zip((source, style), drawn)]
        content, style = (checked_sources(x, n, image) for x in given)
        maps = [features(encode(fold_in(keys, 1), x))[-1] for x in (content, style)]
        mixed = strength * adain(*maps) + (1 - strength) * maps[0]
        return join_pair(content, to_data(draw(decoding.ema, mixed)))

    trained = lambda state: state[0].params
    model = GenerativeModel(init, step, sample, parameters=trained)
    images = lambda x, n: checked_sources(x, n, image)
    return compiled(model, per_sample={"source": images, "style": images}, shared=("strength",))
