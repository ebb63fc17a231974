"""StyleGAN's generator: styles from a mapping network, noise at every pixel (karras2019)."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range, check_widths
from gen_jax.gan_nets.conditioning import condition_vector, join
from gen_jax.gan_nets.equalized import Equalized, leaky, pixel_norm
from gen_jax.gan_nets.growing import blend, check_growth, grown, grown_level
from gen_jax.gan_nets.resampling import base_size, blur, double
from gen_jax.randomness import fold_in, normal
from gen_jax.types import Array, Float, Int, Key


def standardise(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Every channel of every image with mean 0 and variance 1 over its pixels."""
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(x.var((1, 2), keepdims=True) + 1e-8)


class AdaIN(nn.Module):
    """scale(w) standardise(x) + shift(w), both linear in the style w (karras2019, eq. 1)."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], w: Float[Array, "B S"]
    ) -> Float[Array, "B H W C"]:
        scale = Equalized(x.shape[-1], gain=1.0, bias=1.0, name="scale")(w)
        shift = Equalized(x.shape[-1], gain=1.0, name="shift")(w)
        return scale[:, None, None] * standardise(x) + shift[:, None, None]


class StyleLayer(nn.Module):
    """A convolution (not in the first layer), noise times a learned strength, leaky relu, AdaIN.

    With `blurred` the convolution's output is filtered by `resampling.blur`.
    """

    width: int
    first: bool = False
    blurred: bool = False

    @nn.compact
    def __call__(self, x: Array, w: Float[Array, "B S"], noise: Array | None) -> Array:
        """`noise` [B, H, W] or None for an image without."""
        if not self.first:
            x = Equalized(self.width, (3, 3))(x)
        x = blur(x) if self.blurred else x
        strength = self.param("strength", nn.initializers.zeros, (x.shape[-1],))
        if noise is not None:
            x = x + strength * noise[..., None]
        return AdaIN()(leaky(x), w)


class StyleGenerator(nn.Module):
    """Two layers at every resolution; the style of each layer may come from its own latent.

    Fields:
      widths: channels of each resolution, from the smallest to the full one.
      style: dimension of w; `depth` layers make it of z, whose learning rate is `rate` times that
        of the others (0.01 in the paper, of a million updates; with some thousands 0.1 or more).
      mixing: share of the training images whose finer layers have another image's style.
      fade_steps: updates for which each resolution is trained before the next one fades in, and
        of the fading in (progressive growing, karras2018); 0 trains all of them at once.
      blur: filter by [1, 2, 1] / 4 after each doubling's convolution, as in karras2019 (app. C).
        Off unless asked for: runs and figures from before this option were made without. The blur
        before the critic's halvings is left out, for these are means of blocks.
      decay: of the tracked mean of w, in the collection "mean_style", to which truncation pulls.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (64, 64, 32, 16)
    style: int = 64
    depth: int = 4
    rate: float = 0.01
    num_classes: int = 0
    mixing: float = 0.9
    fade_steps: int = 0
    decay: float = 0.995
    blur: bool = False

    takes: ClassVar[tuple[str, ...]] = ("keys", "step", "truncation")

    def __post_init__(self):
        check_widths("widths", self.widths)
        base_size(tuple(self.shape), len(self.widths) - 1)
        for name in ("style", "depth"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_range("rate", self.rate, 0, open_low=True)
        check_range("mixing", self.mixing, 0, 1)
        check_growth(self.fade_steps, len(self.widths))
        check_range("decay", self.decay, 0, 1)
        super().__post_init__()

    @property
    def layers(self) -> int:
        """Number of styles an image has."""
        return 2 * len(self.widths)

    def setup(self):
        size = base_size(tuple(self.shape), len(self.widths) - 1)
        self.mapping = [Equalized(self.style, rate=self.rate) for _ in range(self.depth)]
        self.start = self.param("start", nn.initializers.normal(1.0), (*size, self.widths[0]))
        wide = [width for width in self.widths for _ in range(2)]
        self.synthesis = [
            StyleLayer(width, first=i == 0, blurred=self.blur and i > 0 and i % 2 == 0)
            for i, width in enumerate(wide)
        ]
        self.pixels = [Equalized(self.shape[-1], gain=1.0) for _ in self.widths]
        self.mean_style = self.variable("mean_style", "mean", jnp.zeros, (self.style,))
        self.seen = self.variable("mean_style", "updates", jnp.zeros, (), jnp.int32)

    def shown(
        self, x: Float[Array, "B H W C"], step: Int[Array, ""] | None
    ) -> Float[Array, "B H W C"]:
        """Real images at the resolution of this step, between two blended as its own are."""
        level = grown_level(step, self.fade_steps, len(self.widths))
        return x if level is None else grown(x, level, len(self.widths))

    def styles(self, z: Float[Array, "B L"], condition: Any = None) -> Float[Array, "B S"]:
        """w of each latent: the mapping network."""
        h = pixel_norm(z)
        h = join(h, condition_vector(condition, self.num_classes, len(z)))
        for layer in self.mapping:
            h = leaky(layer(h))
        return h

    def truncated(self, w: Float[Array, "B S"], truncation: Any) -> Float[Array, "B S"]:
        """mean + truncation (w - mean): 1 is w, 0 the mean style (karras2019, app. B)."""
        return self.mean_style.value + truncation * (w - self.mean_style.value)

    def synthesize(
        self,
        w: Float[Array, "B M S"],
        keys: Key[Array, "B"] | None = None,
        level: Any = None,
    ) -> Float[Array, "B H W C"]:
        """The image of a style for each layer.

        Args:
          keys: of the noise; None for images without noise.
          level: resolution in 0 .. len(widths) - 1, between two a blend; None for the full one.
        """
        x = jnp.broadcast_to(self.start, (len(w), *self.start.shape))
        images = []
        for i, layer in enumerate(self.synthesis):
            x = double(x) if i % 2 == 0 and i else x
            x = layer(x, w[:, i], None if keys is None else normal(fold_in(keys, i), x.shape[1:3]))
            if i % 2:
                images.append(self.pixels[i // 2](x))
        return images[-1] if level is None else blend(images, level)

    def track(self, w: Float[Array, "B S"]) -> None:
        """One step of the mean of w; slow only after the first updates."""
        seen = self.seen.value
        decay = jnp.minimum(self.decay, (1 + seen) / (10 + seen))
        mean = jax.lax.stop_gradient(w).mean(0)
        self.mean_style.value = decay * self.mean_style.value + (1 - decay) * mean
        self.seen.value = seen + 1

    def mix(self, keys: Key[Array, "B"], w: Array, z: Array, condition: Any) -> Array:
        """Styles [B, M, S] of layers, from a layer drawn at random on those of a fresh latent."""
        other = self.styles(normal(fold_in(keys, 0), z.shape[1:], z.dtype), condition)
        draw = lambda key: jax.random.randint(key, (), 1, self.layers)
        crossover = jax.vmap(draw)(fold_in(keys, 1))
        mixed = jax.vmap(lambda key: jax.random.bernoulli(key, self.mixing))(fold_in(keys, 2))
        crossover = jnp.where(mixed, crossover, self.layers)
        return mix_styles(w, other, crossover, self.layers)

    def __call__(
        self,
        z: Float[Array, "B L"],
        condition: Any = None,
        *,
        train: bool = False,
        keys: Key[Array, "B"] | None = None,
        step: Int[Array, ""] | None = None,
        truncation: Any = 1.0,
    ) -> Float[Array, "B H W C"]:
        """Images, about in [-1, 1]; without keys neither noise nor mixing."""
        w = self.styles(z, condition)
        if train and self.is_mutable_collection("mean_style") and not self.is_initializing():
            self.track(w)
        if train and keys is not None and self.mixing:
            each = self.mix(fold_in(keys, self.layers), w, z, condition)
        else:
            w = self.truncated(w, truncation)
            each = jnp.broadcast_to(w[:, None], (len(w), self.layers, self.style))
        level = grown_level(step, self.fade_steps, len(self.widths))
        return self.synthesize(each, keys, level)


def mix_styles(
    w: Float[Array, "B S"], other: Float[Array, "B S"], crossover: Any, layers: int
) -> Float[Array, "B M S"]:
    """Styles of the layers: w before the layer `crossover` ([B] or a number), `other` from it."""
    coarse = jnp.arange(layers) < jnp.broadcast_to(jnp.asarray(crossover), (len(w),))[:, None]
    return jnp.where(coarse[..., None], w[:, None], other[:, None])
