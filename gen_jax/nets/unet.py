"""U-Net with residual blocks and attention at chosen resolutions (ho2020 app. B, dhariwal2021)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range, check_widths, shown
from gen_jax.nets.blocks import (
    GroupNorm,
    SelfAttention,
    check_image,
    pad_to_multiple,
    space_to_depth,
)
from gen_jax.nets.cross_attention import CrossAttention, words_of
from gen_jax.nets.seen import modulation_of, with_image
from gen_jax.types import Array, Float

ZEROS = nn.initializers.zeros


def check_heights(attention: Any) -> None:
    """Raise ConfigError unless these are integers of at least 1."""
    if not isinstance(attention, Sequence) or isinstance(attention, str):
        raise ConfigError(f"attention={shown(attention)} must be a tuple of heights, such as (16,)")
    for height in attention:
        check_range("attention", height, 1, integer=True)


def check_attention(attention: tuple[int, ...], height: int, levels: int) -> None:
    """Raise ConfigError for a height that no level of a feature map so high has."""
    heights = [height // 2**level for level in range(levels)]
    for wanted in attention:
        if wanted not in heights:
            raise ConfigError(
                f"attention={attention}: no level is {wanted} high (choose from: {heights})"
            )


class ResidualBlock(nn.Module):
    """norm, silu, conv, norm modulated by the condition, silu, conv (zero at first), plus input.

    A skip connection joins as if it were concatenated to the input along the channels: a linear map
    of a concatenation is the sum of two linear maps, and no copy is made.
    """

    width: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        condition: Float[Array, "B E"],
        skip: Float[Array, "B H W S"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B H W D"]:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        variance = 1.0 if skip is None else 0.5  # as if over the channels of both
        init = nn.initializers.variance_scaling(variance, "fan_in", "truncated_normal")
        conv = partial(nn.Conv, self.width, (3, 3), **types)
        mix = partial(nn.Dense, self.width, use_bias=False, kernel_init=init, **types)
        h = conv(kernel_init=init)(nn.silu(GroupNorm(**types)(x)))
        if skip is not None:
            h = h + conv(use_bias=False, kernel_init=init)(nn.silu(GroupNorm(**types)(skip)))
        modulation = nn.Dense(2 * self.width, **types)(condition)
        h = nn.silu(GroupNorm(**types)(h, modulation))
        h = nn.Dropout(self.dropout)(h, deterministic=deterministic)
        h = conv(kernel_init=ZEROS)(h)
        if skip is not None:
            return mix()(x) + mix()(skip) + h
        return (x if x.shape[-1] == self.width else mix()(x)) + h


class AttentionBlock(nn.Module):
    """Attention over all pixels and over words, zero at first, plus the input.

    A head has about 32 channels.
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], words: tuple[Array, Array] | None = None
    ) -> Float[Array, "B H W C"]:
        """`words`: vectors [B, T, E] of a sentence and which are words; attended to when given."""
        b, height, width, c = x.shape
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        tokens = GroupNorm(**types)(x).reshape(b, height * width, c)
        heads = c // 32 if c % 32 == 0 else 1
        h = SelfAttention(heads, out_init=ZEROS, **types)(tokens)
        if words is not None:
            h = h + CrossAttention(heads, **types)(tokens, *words)
        return x + h.reshape(x.shape)


class UNet(nn.Module):
    """U-Net for images of any size.

    Each entry of `widths` is one level, half the resolution of the one before, with `blocks`
    residual blocks on the way down and as many on the way up, joined by concatenation. Attention
    follows every block whose feature map is H high with H in `attention`, and sits once in the
    middle. Images are padded with zeros (below, right) to a multiple of 2^(levels - 1) and the
    result is cropped back. A call raises ConfigError for an H that none of its feature maps has.
    """

    widths: tuple[int, ...] = (32, 64)
    blocks: int = 2
    attention: tuple[int, ...] = ()
    num_classes: int = 0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    condition: Any = None
    outputs: int = 1

    def __post_init__(self):
        check_widths("widths", self.widths, 4)
        check_range("blocks", self.blocks, 1, integer=True)
        check_heights(self.attention)
        check_range("num_classes", self.num_classes, 0, integer=True)
        check_range("dropout", self.dropout, 0, 1)
        check_range("outputs", self.outputs, 1, integer=True)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B ..."],
        noise: Float[Array, "*batch"],
        condition: Any = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B ..."]:
        """float32 [B, H, W, C], zero before training; the arguments are those of `gen_jax.nets`."""
        check_image(x)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        width = 4 * self.widths[0]
        modulation, beside = modulation_of(self, width, noise, x, condition)

        words = words_of(beside, width, self.param_dtype)

        def residual(h, width, skip=None):
            block = ResidualBlock(width, self.dropout, **types)
            return block(h, modulation, skip, deterministic=deterministic)

        def attend(h):
            return AttentionBlock(**types)(h, words) if h.shape[1] in self.attention else h

        padded = pad_to_multiple(with_image(x, beside.image), 2 ** (len(self.widths) - 1))
        check_attention(self.attention, padded.shape[1], len(self.widths))
        h = nn.Conv(self.widths[0], (3, 3), **types)(padded)
        skips = []
        for level, width in enumerate(self.widths):
            if level:
                h = nn.Dense(width, **types)(space_to_depth(h, 2))
            for _ in range(self.blocks):
                h = attend(residual(h, width))
                skips.append(h)
        h = residual(AttentionBlock(**types)(residual(h, width), words), width)
        for level, width in reversed(list(enumerate(self.widths))):
            for _ in range(self.blocks):
                h = attend(residual(h, width, skips.pop()))
            if level:
                h = nn.Dense(self.widths[level - 1], **types)(h)
                h = h.repeat(2, axis=1).repeat(2, axis=2)
        h = nn.silu(GroupNorm(**types)(h))
        channels = self.outputs * x.shape[-1]
        h = nn.Conv(channels, (3, 3), kernel_init=ZEROS, name="out", **types)(h)
        return h.astype(jnp.float32)[:, : x.shape[1], : x.shape[2]]
