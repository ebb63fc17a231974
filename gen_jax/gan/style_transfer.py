"""Adaptive instance normalisation: the content of one image in the style of another (huang2017).

The style of an image is the mean and the standard deviation of each of its feature maps, its
content what is left. `adain` gives the maps of one image the style of another; a decoder is trained
to make an image of them, by

    |f(g(t)) - t|^2 + style_weight sum_i |mean_i(g(t)) - mean_i(s)|^2 + |std_i(g(t)) - std_i(s)|^2

with t = adain(f(c), f(s)), i over layers of a fixed network, and f the last of them (eq. 11-13).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import check_output, no_type_check, one_number
from gen_jax.gan.translation import (
    apply,
    check_images,
    check_pair,
    checked_sources,
    draw_sources,
    first_memory,
    init_params,
    join_pair,
    remember,
    split_pair,
    units,
)
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import Share, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Key, Metrics, Num

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


class StyleState(NamedTuple):
    """The decoder with its average, and pairs seen last [M, H, 2 W, C] in data units."""

    decoder: AveragedState
    images: Num[Array, "M H W2 C"]

    @property
    def params(self) -> Any:
        """The decoder's parameters."""
        return self.decoder.params

    @property
    def ema(self) -> Any:
        """Their moving average."""
        return self.decoder.ema


class StyleOptions(NamedTuple):
    """Options of `style_transfer`.

    Fields:
      shape: of images side by side, (H, 2 W, C).
      style_weight: of the style's distance beside the content's.
      ema_decay: of the decoder's moving average, which samples.
      transform: `data.Transform` between data units and the networks', or None.
    """

    shape: tuple[int, ...]
    style_weight: Weight = 10.0
    ema_decay: Share = 0.999
    transform: Any = None


class StyleParts(NamedTuple):
    """The fixed features, the decoder, its optimizer, the options."""

    features: Callable[[Array], Maps]
    decoder: Any
    optimizer: optax.GradientTransformation
    options: StyleOptions

    @property
    def image(self) -> tuple[int, ...]:
        """(H, W, C) of each image."""
        return check_pair(self.options.shape)

    def draw(self, params: Any, maps: Array) -> Array:
        """The decoder's images of the coarsest maps."""
        made = apply(self.decoder, params, maps)
        return check_output("decoder", made, (len(maps), *self.image))


@no_type_check
def make_parts(
    features: Callable[[Array], Maps],
    decoder: Any,
    optimizer: optax.GradientTransformation,
    options: StyleOptions,
) -> StyleParts:
    """Everything checked. Raises ConfigError for options that cannot work."""
    check_pair(options.shape)
    check_ranges(options)
    return StyleParts(features, decoder, optimizer, options)


def init_state(parts: StyleParts, key: Key[Array, ""], batch: Batch) -> StyleState:
    """Fresh state; raises ConfigError when the batch or the decoder does not fit."""
    check_images(parts.options.shape, parts.options.transform, batch)
    coarse = jax.eval_shape(parts.features, jnp.zeros((1, *parts.image)))[-1]
    params = init_params(parts.decoder, "decoder", key, jnp.zeros(coarse.shape))
    return StyleState(init_state_with_ema(params, parts.optimizer), first_memory(batch["x"]))


def step(
    parts: StyleParts, key: Key[Array, ""], state: StyleState, batch: Batch
) -> tuple[StyleState, Metrics]:
    """One update of the decoder on the objective, and one of its average."""
    options, (encode, _) = parts.options, units(parts.options.transform)
    images = split_pair(encode(key, batch["x"]))
    loss = lambda params: objective(
        parts.features, partial(parts.draw, params), *images, options.style_weight
    )
    decoder, metrics = optimizer_step_with_ema(
        loss, parts.optimizer, options.ema_decay, state.decoder
    )
    return StyleState(decoder, remember(state.images, batch["x"])), metrics


def draw_samples(
    parts: StyleParts,
    key: Key[Array, "*batch"],
    state: StyleState,
    n: int,
    *,
    source: Num[Array, "n H W C"] | None = None,
    style: Num[Array, "n H W C"] | None = None,
    strength: float | Float[Array, ""] = 1.0,
) -> Array:
    """The contents, and beside them their images in another style, [n, H, 2 W, C] in data units.

    Args:
      source, style: images of the contents and of the styles, by default drawn from those seen
        lately.
      strength: mixes maps of content (0) and target (1).
    """
    (encode, decode), keys = units(parts.options.transform), sample_keys(key, n)
    drawn = split_pair(draw_sources(fold_in(keys, 0), state.images))
    given = [d if x is None else x for x, d in zip((source, style), drawn)]
    content, style = (checked_sources(x, n, parts.image) for x in given)
    maps = [parts.features(encode(fold_in(keys, 1), x))[-1] for x in (content, style)]
    mixed = strength * adain(*maps) + (1 - strength) * maps[0]
    return join_pair(content, decode(parts.draw(state.ema, mixed)))


def model_from_parts(parts: StyleParts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    model = assemble(parts, init_state, step, draw_samples)
    images = lambda x, n: checked_sources(x, n, parts.image)
    return compiled(
        model,
        per_sample={"source": images, "style": images},
        shared={"strength": partial(one_number, "strength")},
    )


@no_type_check
def style_transfer(
    features: Callable[[Array], Maps],
    decoder: Any,
    optimizer: optax.GradientTransformation,
    **options: Any,
) -> GenerativeModel:
    """Style transfer as a `GenerativeModel` of images side by side: content left, style right.

    Args:
      features: of a fixed network, in the transform's units, from fine to coarse.
      decoder: from the coarsest maps to an image [B, H, W, C].
      options: fields of `StyleOptions`; `shape` is needed.
    `sample` takes the arguments of `draw_samples`. The data's pairs need not belong together.
    Raises ConfigError for options that cannot work.
    """
    return model_from_parts(
        make_parts(features, decoder, optimizer, options_from(StyleOptions, options))
    )
