"""Diffusion transformer with adaLN-zero conditioning (peebles2023)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.nets.blocks import (
    Attend,
    SelfAttention,
    check_heads,
    check_image,
    depth_to_space,
    over_tokens,
    patches_of,
)
from gen_jax.nets.cross_attention import CrossAttention, words_of
from gen_jax.nets.embeddings import position_2d
from gen_jax.nets.seen import modulation_of, with_image
from gen_jax.types import Array, Float

ZEROS = nn.initializers.zeros


def _moments(x: Float[Array, "B N D"]) -> tuple[Array, Array]:
    """(x - mean) / deviation and 1 / deviation."""
    centred = x - x.mean(-1, keepdims=True)
    scale = (jnp.mean(centred * centred, -1, keepdims=True) + 1e-6) ** -0.5
    return centred * scale, scale


@jax.custom_jvp
def _normalized(x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
    return _moments(x)[0]


@_normalized.defjvp
def _derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """dy = (dx - mean(dx) - y mean(y dx)) / deviation: fewer passes than through the moments."""
    (x,), (dx,) = primals, tangents
    y, scale = _moments(x)
    mean = lambda value: value.mean(-1, keepdims=True)
    return y, scale * (dx - mean(dx) - y * mean(y * dx))


def layer_norm(x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
    """Zero mean and unit variance over the last axis, without parameters; computed in float32."""
    return _normalized(x.astype(jnp.float32)).astype(x.dtype)


def modulate(x: Float[Array, "B N D"], shift: Array, scale: Array) -> Float[Array, "B N D"]:
    """x (1 + scale) + shift, with one scale and shift [B, D] for all tokens of an example."""
    return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    """x + gate attention(mod(norm(x))), then x + gate mlp(mod(norm(x))); gates start at zero."""

    heads: int
    ratio: int = 4
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    attend: Attend = jax.nn.dot_product_attention

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        condition: Float[Array, "B E"],
        deterministic: bool = True,
        words: tuple[Array, Array] | None = None,
    ) -> Float[Array, "B N D"]:
        """`words`: vectors [B, T, E] of a sentence and which are words; attended to when given."""
        width = x.shape[-1]
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        six = nn.Dense(6 * width, kernel_init=ZEROS, name="modulation", **types)(condition)
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = jnp.split(six, 6, axis=-1)
        h = modulate(layer_norm(x), shift_1, scale_1)
        h = SelfAttention(self.heads, **types)(h, self.attend)
        x = x + gate_1[:, None] * h
        if words is not None:
            x = x + CrossAttention(self.heads, **types)(layer_norm(x), *words)
        wide = nn.Dense(self.ratio * width, **types)
        h = over_tokens(wide, modulate(layer_norm(x), shift_2, scale_2))
        h = nn.Dropout(self.dropout)(nn.gelu(h), deterministic=deterministic)
        return x + gate_2[:, None] * over_tokens(nn.Dense(width, **types), h)


def check_dit_sizes(sized: Any, prefix: str = "") -> None:
    """Raise ConfigError unless a DiT can have this width, depth, patch and number of heads."""
    for name in ("patch", "depth"):
        check_range(f"{prefix}{name}", getattr(sized, name), 1, integer=True)
    check_heads(sized.width, sized.heads, low=8, multiple=4, prefix=prefix)


class DiT(nn.Module):
    """Transformer over patches of patch x patch pixels, with a fixed sin-cos position embedding.

    Images whose sides are not multiples of `patch` are padded with zeros (below, right) and the
    result is cropped. Blocks are the identity and the output is zero at first (adaLN-zero).
    """

    patch: int = 4
    width: int = 64
    depth: int = 2
    heads: int = 2
    num_classes: int = 0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    condition: Any = None
    outputs: int = 1
    attend: Attend = jax.nn.dot_product_attention

    def __post_init__(self):
        check_dit_sizes(self)
        check_range("num_classes", self.num_classes, 0, integer=True)
        check_range("dropout", self.dropout, 0, 1)
        check_range("outputs", self.outputs, 1, integer=True)
        super().__post_init__()

    def embedded(
        self, x: Float[Array, "B H W C"], noise: Float[Array, "*batch"], condition: Any
    ) -> tuple[Float[Array, "B N D"], Float[Array, "B E"], tuple[Array, Array] | None]:
        """Tokens of patches and places, what modulates the blocks, and words; inside `compact`."""
        modulation, beside = modulation_of(self, self.width, noise, x, condition)
        patches = patches_of(with_image(x, beside.image), self.patch)
        tokens = nn.Dense(self.width, dtype=self.dtype, param_dtype=self.param_dtype)
        rows, columns = (-(-side // self.patch) for side in x.shape[1:3])
        h = over_tokens(tokens, patches)
        h = h + position_2d(rows, columns, self.width).astype(h.dtype)
        return h, modulation, words_of(beside, self.width, self.param_dtype)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B ..."],
        noise: Float[Array, "*batch"],
        condition: Any = None,
        *,
        added: Sequence[Float[Array, "B N D"]] = (),
        deterministic: bool = True,
    ) -> Float[Array, "B ..."]:
        """float32 [B, H, W, C], zero before training; the arguments are those of `gen_jax.nets`.

        `added`: what is added to the tokens after each block, of a `ControlledDiT`.
        """
        check_image(x)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        h, modulation, words = self.embedded(x, noise, condition)
        for number in range(self.depth):
            block = Block(self.heads, dropout=self.dropout, attend=self.attend, **types)
            h = block(h, modulation, deterministic, words)
            h = h + added[number] if added else h
        two = nn.Dense(2 * self.width, kernel_init=ZEROS, name="modulation", **types)(modulation)
        h = modulate(layer_norm(h), *jnp.split(two, 2, axis=-1))
        pixels = self.patch**2 * self.outputs * x.shape[-1]
        h = over_tokens(nn.Dense(pixels, kernel_init=ZEROS, name="out", **types), h)
        rows, columns = (-(-side // self.patch) for side in x.shape[1:3])
        image = h.astype(jnp.float32).reshape(len(x), rows, columns, pixels)
        return depth_to_space(image, self.patch)[:, : x.shape[1], : x.shape[2]]
