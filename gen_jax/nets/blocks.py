"""Pieces that several image networks share."""

from collections.abc import Callable
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float


def check_image(x: Array) -> None:
    """Raise ConfigError unless x is a batch of images [B, H, W, C]."""
    if x.ndim != 4:
        raise ConfigError(f"x has shape {x.shape}, an image network needs [B, H, W, C]")


def check_heads(width: int, heads: int, low: int = 1, multiple: int = 1, prefix: str = "") -> None:
    """Raise ConfigError for a width that is no multiple of the number of heads and of `multiple`.

    Args:
      low: the least width.
      prefix: of the arguments' names, such as "network.".
    """
    check_range(f"{prefix}width", width, low, integer=True)
    check_range(f"{prefix}heads", heads, 1, integer=True)
    if width % heads or width % multiple:
        also = f"{multiple} and of " if multiple > 1 else ""
        raise ConfigError(f"{prefix}width={width} must be a multiple of {also}heads={heads}")


def pad_to_multiple(x: Float[Array, "B H W C"], multiple: int) -> Float[Array, "B H2 W2 C"]:
    """Zeros below and to the right, up to the next multiple; the caller crops back to [H, W]."""
    extra = [(-size) % multiple for size in x.shape[1:3]]
    return jnp.pad(x, ((0, 0), (0, extra[0]), (0, extra[1]), (0, 0))) if any(extra) else x


def space_to_depth(x: Float[Array, "B H W C"], block: int) -> Float[Array, "B H2 W2 C2"]:
    """Cut the image into block x block patches: [B, H/block, W/block, block * block * C]."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // block, block, w // block, block, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // block, w // block, block * block * c)


def depth_to_space(x: Float[Array, "B H2 W2 C2"], block: int) -> Float[Array, "B H W C"]:
    """Inverse of `space_to_depth`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, block, block, c // block**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * block, w * block, c // block**2)


def patches_of(x: Float[Array, "B H W C"], patch: int) -> Float[Array, "B N P"]:
    """The image's patch x patch pieces as tokens, row by row, padded below and to the right."""
    cut = space_to_depth(pad_to_multiple(x, patch), patch)
    return cut.reshape(len(x), -1, cut.shape[-1])


class GroupNorm(nn.Module):
    """Group normalisation of images [B, H, W, C] with learned scale and shift, or with given ones.

    At most `groups` groups, as many as divide C; statistics in float32. `modulation` [B, 2 C] holds
    (scale - 1, shift) for each example. Everything is folded into one multiply-add per pixel, which
    on a CPU takes half the time of flax's module (wu2018).
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    groups: int = 8

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], modulation: Float[Array, "B C2"] | None = None
    ) -> Float[Array, "B H W C"]:
        b, c = x.shape[0], x.shape[-1]
        groups = gcd(self.groups, c)
        if modulation is None:
            scale = self.param("scale", nn.initializers.ones, (c,), self.param_dtype)
            shift = self.param("shift", nn.initializers.zeros, (c,), self.param_dtype)
        else:
            scale, shift = jnp.split(modulation.astype(jnp.float32), 2, axis=-1)
            scale = 1 + scale
        wide = x.astype(jnp.float32)
        moments = jnp.stack([wide.mean((1, 2)), jnp.square(wide).mean((1, 2))])
        moments = moments.reshape(2, b, groups, c // groups).mean(-1, keepdims=True)
        mean, square = jnp.broadcast_to(moments, (2, b, groups, c // groups)).reshape(2, b, c)
        scale = scale * jax.lax.rsqrt(jnp.maximum(square - mean**2, 0) + 1e-6)
        shift = shift - mean * scale
        return (x * scale[:, None, None] + shift[:, None, None]).astype(self.dtype)


def instance_norm(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Each channel of each image to mean 0 and variance 1, then a learned scale and shift.

    A map of one pixel stays as it is: normalised it would be zero whatever the image (ulyanov2016).
    To be called inside a compact module.
    """
    return x if x.shape[1] * x.shape[2] == 1 else GroupNorm(groups=x.shape[-1])(x)


def over_tokens(layer: Callable[[Array], Array], x: Float[Array, "B N D"]) -> Array:
    """A layer of [B N, D] for tokens [B, N, D].

    The gradient of a kernel is then one product of matrices; of three axes XLA copies the tokens
    transposed first.
    """
    return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


Attend = Callable[[Array, Array, Array], Array]
"""`(query, key, value [B, N, heads, D]) -> [B, N, heads, D]`, softmax in float32."""


def causal(query: Array, key: Array, value: Array) -> Array:
    """`Attend` for a whole sequence: each place attends to itself and those before."""
    return jax.nn.dot_product_attention(query, key, value, is_causal=True)


def rotated(x: Float[Array, "B N heads D"], base: float = 100.0) -> Float[Array, "B N heads D"]:
    """Pairs of features rotated by place times a frequency, geometric from 1 to above 1 / base.

    The product of a rotated query and a rotated key depends on the difference of their places only
    (su2021 sec. 3.2.2). An odd last feature stays; angles are of float32.
    """
    half = x.shape[-1] // 2
    frequencies = base ** (-jnp.arange(half, dtype=jnp.float32) / max(half, 1))
    angle = jnp.arange(x.shape[1], dtype=jnp.float32)[:, None, None] * frequencies
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    pair = first * cos - second * sin, first * sin + second * cos
    return jnp.concatenate([*pair, rest], -1)


def rotary(query: Array, key: Array, value: Array) -> Array:
    """`Attend` to all places, by how far away they are."""
    return jax.nn.dot_product_attention(rotated(query), rotated(key), value)


class SelfAttention(nn.Module):
    """Multi-head self-attention over tokens [B, N, D], one fused projection."""

    heads: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    out_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], attend: Attend = jax.nn.dot_product_attention
    ) -> Float[Array, "B N D"]:
        b, n, d = x.shape
        if d % self.heads:
            raise ConfigError(f"heads={self.heads} must divide the width {d}")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        qkv = over_tokens(nn.Dense(3 * d, name="qkv", **types), x)
        qkv = qkv.reshape(b, n, 3, self.heads, d // self.heads)
        out = attend(*(qkv[:, :, i] for i in range(3)))
        last = nn.Dense(d, kernel_init=self.out_init, name="out", **types)
        return over_tokens(last, out.reshape(b, n, d))


class DecoderBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the pre-norm block of radford2019."""

    heads: int
    ratio: int = 4
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], attend: Attend = causal, deterministic: bool = True
    ) -> Float[Array, "B N D"]:
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        x = x + drop(SelfAttention(self.heads, None)(nn.LayerNorm()(x), attend))
        wide = nn.gelu(over_tokens(nn.Dense(self.ratio * x.shape[-1]), nn.LayerNorm()(x)))
        return x + drop(over_tokens(nn.Dense(x.shape[-1]), wide))
