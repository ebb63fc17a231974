"""Networks of a hierarchical VAE: a way up from x and a way down through the latents.

At each level q = N(m + s shift, (s scale)^2) where p = N(m, s^2): what x adds to what is known from
above (vahdat2020 sec. 3.2). Bottom-up features of x and top-down features of z meet there. (shift,
scale) start at (0, 1): before training every level costs nothing, however many there are.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.axes import rows_of
from gen_jax.errors import ConfigError, check_range
from gen_jax.nets.blocks import GroupNorm, depth_to_space, pad_to_multiple, space_to_depth
from gen_jax.types import Array, Float, Int
from gen_jax.vae.gaussians import residual_kl_terms

BOUND = 5.0
"""Log-scales and residual shifts stay within this, by a soft clamp."""


def soft_clamp(value: Array, bound: float = BOUND) -> Array:
    """bound tanh(value / bound)."""
    return bound * jnp.tanh(value / bound)


def level_shapes(
    shape: tuple[int, ...], latents: Sequence[int], halvings: Sequence[int] = ()
) -> tuple[tuple[int, ...], ...]:
    """Shapes of the levels' latents: [d], or with halvings of an image's sides maps [h, w, d].

    Raises ConfigError for halvings of what is no image, for another number of them than levels, for
    more than the sides allow, and for a map that is smaller than the one above it.
    """
    if not halvings:
        return tuple((dim,) for dim in latents)
    if len(shape) != 3:
        raise ConfigError(f"halvings={tuple(halvings)} are of images, but shape={shape}")
    if len(halvings) != len(latents) or list(halvings) != sorted(halvings, reverse=True):
        raise ConfigError(
            f"halvings={tuple(halvings)} must be one number for each of {len(latents)} latents, "
            "and none above the one before"
        )
    check_range("halvings", halvings[0], 0, int(math.log2(min(shape[:2]))), integer=True)
    sides = lambda k: (-(-shape[0] // 2**k), -(-shape[1] // 2**k))
    return tuple((*sides(k), dim) for k, dim in zip(halvings, latents))


class Pass(NamedTuple):
    """A way down: decoder numbers [N, P], KL [N, L] in closed form, log q - log p [N] at the draw.

    Levels are counted from the top.
    """

    raw: Float[Array, "N P"]
    kl: Float[Array, "N L"]
    log_ratio: Float[Array, "N"]


class Cell(nn.Module):
    """h + W2 silu(W1 silu(h)), W2 small at first so that deep stacks start as the identity."""

    width: int

    @nn.compact
    def __call__(self, h: Float[Array, "N W"]) -> Float[Array, "N W"]:
        inner = nn.silu(nn.Dense(self.width)(nn.silu(h)))
        return h + nn.Dense(self.width, kernel_init=nn.initializers.normal(1e-2))(inner)


class ImageCell(nn.Module):
    """`Cell` of maps: two normalised 3x3 convolutions, and a gate for each channel that sees all
    places (vahdat2020 fig. 3b; hu2018).

    Normalisation is by groups of eight channels, which keeps examples apart. Depthwise 5x5
    convolutions of three times the channels (fig. 3a) take 13 to 16 times as long on a CPU.
    """

    width: int

    @nn.compact
    def __call__(self, h: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        normalised = lambda h: GroupNorm(groups=max(self.width // 8, 1))(h)
        inner = nn.Conv(self.width, (3, 3))(nn.silu(normalised(h)))
        small = nn.initializers.normal(1e-2)
        inner = nn.Conv(self.width, (3, 3), kernel_init=small)(nn.silu(normalised(inner)))
        squeezed = nn.relu(nn.Dense(max(self.width // 4, 4))(inner.mean((1, 2))))
        return h + inner * nn.sigmoid(nn.Dense(self.width)(squeezed))[:, None, None]


class Ladder(nn.Module):
    """The network of vectors: `levels` are the shapes of the latents from the top down, `shape`
    that of x, of whose every value the decoder gives `size` numbers. With `num_classes` the first
    layers of both ways see a label."""

    levels: tuple[tuple[int, ...], ...]
    width: int
    shape: tuple[int, ...]
    size: int
    num_classes: int = 0

    def setup(self):
        levels, zeros = range(len(self.levels)), nn.initializers.zeros
        pair = [2 * shape[-1] for shape in self.levels]
        self.enter = nn.Dense(self.width)
        self.rise = [self.cell() for _ in levels]
        self.prior = [nn.Dense(size, kernel_init=zeros) for size in pair]
        self.residual = [nn.Dense(size, kernel_init=zeros) for size in pair]
        self.fall = [self.cell() for _ in levels]
        self.insert = [nn.Dense(self.width) for _ in levels]
        self.start = self.param("start", zeros, (*self.levels[0][:-1], self.width))
        self.leave = nn.Dense(self.outputs(), kernel_init=zeros)
        table, sizes = nn.initializers.normal(0.1), (self.num_classes, self.width)
        names = ("label_up", "label_down") if self.num_classes else ()
        self.tables = [self.param(name, table, sizes) for name in names]

    def labelled(self, h: Array, table: int, label: Array | None) -> Array:
        """Features [N, ..., W] with the vectors of the labels [N], if there are any."""
        if label is None:
            return h
        vectors = rows_of(self.tables[table], label)
        return h + jnp.expand_dims(vectors, range(1, h.ndim - 1))

    def cell(self) -> nn.Module:
        return Cell(self.width)

    def outputs(self) -> int:
        """Features of the last layer."""
        return math.prod(self.shape) * self.size

    def inward(self, inputs: Array) -> Array:
        """What the first layer sees."""
        return inputs.reshape(len(inputs), -1)

    def outward(self, h: Array) -> Array:
        """The last layer's features as decoder numbers, in any shape."""
        return h

    def above(self, h: Array, level: int) -> Array:
        """Features of a level from those of the level below it."""
        return h

    def below(self, h: Array, level: int) -> Array:
        """Features of a level from those of the level above it."""
        return h

    def features(
        self, inputs: Float[Array, "B ..."], label: Int[Array, "B"] | None = None
    ) -> list[Array]:
        """What each level sees of x, the top first."""
        h, found = self.labelled(self.enter(self.inward(inputs)), 0, label), []
        for cell, level in zip(self.rise, reversed(range(len(self.levels)))):
            h = cell(self.above(h, level))
            found.append(h)
        return found[::-1]

    def down(
        self,
        noise: list[Array],
        features: list[Array] | None = None,
        label: Int[Array, "N"] | None = None,
    ) -> Pass:
        """From standard normal numbers [N, *shape] per level; without features, from the prior."""
        count = len(noise[0])
        total = lambda values: values.reshape(count, -1).sum(-1)
        h = jnp.broadcast_to(self.start, (count, *self.start.shape))
        h = self.labelled(h, 1, label)
        kl, log_ratio = [], jnp.zeros(count)
        for level, eps in enumerate(noise):
            h = self.below(h, level)
            mean, log_std = jnp.split(self.prior[level](nn.silu(h)), 2, axis=-1)
            if level == 0:
                mean, log_std = jnp.zeros_like(mean), jnp.zeros_like(log_std)
            unit = eps
            if features is not None:
                seen = nn.silu(jnp.concatenate([h, features[level]], -1))
                shift, log_scale = jnp.split(soft_clamp(self.residual[level](seen)), 2, axis=-1)
                unit = shift + jnp.exp(log_scale) * eps
                kl.append(total(residual_kl_terms(shift, log_scale)))
                log_ratio = log_ratio + total(0.5 * (unit**2 - eps**2) - log_scale)
            z = mean + jnp.exp(soft_clamp(log_std)) * unit
            h = self.fall[level](h + self.insert[level](z))
        cost = jnp.stack(kl, -1) if kl else jnp.zeros((count, 0))
        raw = self.outward(self.leave(nn.silu(h)))
        return Pass(raw.reshape(count, -1), cost, log_ratio)

    def __call__(self, inputs: Array, noise: list[Array], label: Array | None = None) -> Pass:
        return self.down(noise, self.features(inputs, label), label)


class ImageLadder(Ladder):
    """The network of maps; `halvings` of the image's sides lead to each level."""

    halvings: tuple[int, ...] = ()

    def setup(self):
        super().setup()
        factors = [self.factor(level) for level in range(1, len(self.levels))]
        self.shrink = [nn.Dense(self.width) if f > 1 else None for f in factors]
        self.grow = [nn.Dense(self.width * f**2) if f > 1 else None for f in factors]

    @property
    def finest(self) -> int:
        """Pixels a side of the block that a place of the lowest level stands for."""
        return 2 ** self.halvings[-1]

    def factor(self, level: int) -> int:
        """How many times as long the sides of a level's map are as those of the one above."""
        return 2 ** (self.halvings[level - 1] - self.halvings[level])

    def cell(self) -> nn.Module:
        return ImageCell(self.width)

    def outputs(self) -> int:
        return self.shape[-1] * self.size * self.finest**2

    def inward(self, inputs: Array) -> Array:
        images = inputs.reshape(len(inputs), *self.shape[:2], -1)
        return space_to_depth(pad_to_multiple(images, self.finest), self.finest)

    def outward(self, h: Array) -> Array:
        return depth_to_space(h, self.finest)[:, : self.shape[0], : self.shape[1]]

    def above(self, h: Array, level: int) -> Array:
        if level + 1 == len(self.levels) or (layer := self.shrink[level]) is None:
            return h
        factor = self.factor(level + 1)
        return layer(space_to_depth(pad_to_multiple(h, factor), factor))

    def below(self, h: Array, level: int) -> Array:
        if level == 0 or (layer := self.grow[level - 1]) is None:
            return h
        height, width = self.levels[level][:2]
        return depth_to_space(layer(h), self.factor(level))[:, :height, :width]
