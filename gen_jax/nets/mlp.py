"""Residual multi-layer perceptron for points, and for small images seen as vectors."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range, check_widths
from gen_jax.nets.seen import modulation_of
from gen_jax.types import Array, Float


class MLP(nn.Module):
    """One residual block per entry of `features`, modulated by noise level and label.

    Block: h <- h + W2 silu((1 + scale) * W1 silu(h) + shift), with scale and shift linear in the
    condition; where the width changes, h passes through a linear map. Inputs [B, ...] are flattened
    and shaped back.
    """

    features: tuple[int, ...] = (128, 128, 128)
    num_classes: int = 0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    condition: Any = None
    outputs: int = 1

    def __post_init__(self):
        check_widths("features", self.features, 2)
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
        """float32 [B, ...], zero before training; the arguments are those of `gen_jax.nets`."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        width = 2 * (self.features[0] // 2)
        modulation, beside = modulation_of(self, width, noise, x, condition)
        flat = x.reshape(x.shape[0], -1)
        size = flat.shape[-1]
        if beside.image is not None:
            flat = jnp.concatenate([flat, beside.image.reshape(len(x), -1)], -1)
        h = nn.Dense(self.features[0], **types)(flat)
        for width in self.features:
            skip = h if h.shape[-1] == width else nn.Dense(width, use_bias=False, **types)(h)
            scale, shift = jnp.split(nn.Dense(2 * width, **types)(modulation), 2, axis=-1)
            h = nn.silu(nn.Dense(width, **types)(nn.silu(h)) * (1 + scale) + shift)
            h = nn.Dropout(self.dropout)(h, deterministic=deterministic)
            h = skip + nn.Dense(width, **types)(h)
        size = self.outputs * size
        out = nn.Dense(size, kernel_init=nn.initializers.zeros, name="out", **types)
        shape = (*x.shape[:-1], self.outputs * x.shape[-1])
        return out(nn.silu(h)).astype(jnp.float32).reshape(shape)
