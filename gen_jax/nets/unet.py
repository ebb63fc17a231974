"""U-Net with residual blocks and attention at chosen resolutions (ho2020 app. B, dhariwal2021)."""

from math import gcd
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range
from gen_jax.nets.blocks import SelfAttention, check_image, pad_to_multiple, space_to_depth
from gen_jax.nets.embeddings import Condition, per_example
from gen_jax.types import Array, Float, Int

ZEROS = nn.initializers.zeros


def group_norm(width: int, types: dict, **options) -> nn.GroupNorm:
    """Group normalisation with at most 8 groups that divide `width`; statistics in float32."""
    return nn.GroupNorm(num_groups=gcd(8, width), **types, **options)


class ResidualBlock(nn.Module):
    """norm, silu, conv, norm modulated by the condition, silu, conv (zero at first), plus input."""

    width: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        condition: Float[Array, "B E"],
        deterministic: bool = True,
    ) -> Float[Array, "B H W D"]:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        h = nn.silu(group_norm(x.shape[-1], types)(x))
        h = nn.Conv(self.width, (3, 3), **types)(h)
        modulation = nn.Dense(2 * self.width, **types)(condition)[:, None, None, :]
        scale, shift = jnp.split(modulation, 2, axis=-1)
        norm = group_norm(self.width, types, use_scale=False, use_bias=False)
        h = nn.silu(norm(h) * (1 + scale) + shift)
        h = nn.Dropout(self.dropout)(h, deterministic=deterministic)
        h = nn.Conv(self.width, (3, 3), kernel_init=ZEROS, **types)(h)
        if x.shape[-1] != self.width:
            x = nn.Dense(self.width, use_bias=False, name="skip", **types)(x)
        return x + h


class AttentionBlock(nn.Module):
    """Self-attention over all pixels, zero at first, plus the input; about 32 channels per head."""

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        b, h, w, c = x.shape
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        tokens = group_norm(c, types)(x).reshape(b, h * w, c)
        attend = SelfAttention(c // 32 if c % 32 == 0 else 1, out_init=ZEROS, **types)
        return x + attend(tokens).reshape(x.shape)


class UNet(nn.Module):
    """U-Net for images of any size.

    Each entry of `widths` is one level, half the resolution of the one before, with `blocks`
    residual blocks on the way down and as many on the way up, joined by concatenation. Attention
    follows every block whose feature map is H high with H in `attention`, and sits once in the
    middle. Images are padded with zeros (below, right) to a multiple of 2^(levels - 1) and the
    result is cropped back.
    """

    widths: tuple[int, ...] = (32, 64)
    blocks: int = 2
    attention: tuple[int, ...] = ()
    num_classes: int = 0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        if not self.widths:
            raise ConfigError("widths=() must name at least one level")
        for width in self.widths:
            check_range("widths", width, 4, integer=True)
        check_range("blocks", self.blocks, 1, integer=True)
        check_range("num_classes", self.num_classes, 0, integer=True)
        check_range("dropout", self.dropout, 0, 1)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B ..."],
        noise: Float[Array, "*batch"],
        label: Int[Array, "B"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B ..."]:
        """float32 [B, H, W, C], zero before training; the arguments are those of `gen_jax.nets`."""
        check_image(x)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        embed = Condition(4 * self.widths[0], self.num_classes, self.param_dtype)
        condition = nn.silu(embed(per_example(noise, x), label))

        def block(h, width):
            h = ResidualBlock(width, self.dropout, **types)(h, condition, deterministic)
            return AttentionBlock(**types)(h) if h.shape[1] in self.attention else h

        h = nn.Conv(self.widths[0], (3, 3), **types)(
            pad_to_multiple(x, 2 ** (len(self.widths) - 1))
        )
        skips = []
        for level, width in enumerate(self.widths):
            if level:
                h = nn.Dense(width, **types)(space_to_depth(h, 2))
            for _ in range(self.blocks):
                h = block(h, width)
                skips.append(h)
        h = ResidualBlock(width, self.dropout, **types)(h, condition, deterministic)
        h = AttentionBlock(**types)(h)
        h = ResidualBlock(width, self.dropout, **types)(h, condition, deterministic)
        for level, width in reversed(list(enumerate(self.widths))):
            for _ in range(self.blocks):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), width)
            if level:
                h = nn.Dense(self.widths[level - 1], **types)(h)
                h = h.repeat(2, axis=1).repeat(2, axis=2)
        h = nn.silu(group_norm(h.shape[-1], types)(h))
        h = nn.Conv(x.shape[-1], (3, 3), kernel_init=ZEROS, name="out", **types)(h)
        return h.astype(jnp.float32)[:, : x.shape[1], : x.shape[2]]
