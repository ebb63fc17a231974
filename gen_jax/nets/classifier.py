"""Small convolutional classifier: features for metrics, and the guide of classifier guidance."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range, check_widths
from gen_jax.nets.blocks import GroupNorm, check_image
from gen_jax.nets.embeddings import ConditionEmbedding, per_example
from gen_jax.types import Array, Float


class Classifier(nn.Module):
    """Per width a strided and a residual 3x3 convolution; then mean over pixels and a hidden layer.

    Images [B, H, W, C] of any size, scaled to [-1, 1]; returns (logits [B, K], features [B, F]) in
    float32. With `noise_conditioned` every level is modulated by the noise level (as in
    nets.embeddings), for guidance. No max-pooling, whose gradient is not deterministic on GPUs, and
    nothing that ties the examples of a batch.
    """

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 96)
    features: int = 96
    noise_conditioned: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        check_range("num_classes", self.num_classes, 2, integer=True)
        check_range("features", self.features, 1, integer=True)
        check_widths("widths", self.widths, 4)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], noise: Float[Array, "*batch"] | None = None
    ) -> tuple[Float[Array, "B K"], Float[Array, "B F"]]:
        """Raises ConfigError unless `noise` is given exactly when `noise_conditioned`."""
        check_image(x)
        if (noise is not None) != self.noise_conditioned:
            word = "needs" if self.noise_conditioned else "does not take"
            raise ConfigError(
                f"a classifier with noise_conditioned={self.noise_conditioned} {word} noise"
            )
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        if noise is not None:
            embed = ConditionEmbedding(64, 0, self.param_dtype, name="Condition_0")
            condition = nn.silu(embed(per_example(noise, x)))
        h = x
        for width in self.widths:
            h = nn.Conv(width, (3, 3), strides=2, **types)(h)
            if noise is not None:
                h = GroupNorm(**types)(h, nn.Dense(2 * width, **types)(condition))
            else:
                h = GroupNorm(**types)(h)
            h = nn.silu(h)
            h = h + nn.silu(GroupNorm(**types)(nn.Conv(width, (3, 3), **types)(h)))
            self.sow("intermediates", "maps", h)
        features = nn.silu(nn.Dense(self.features, **types)(h.mean(axis=(1, 2))))
        logits = nn.Dense(self.num_classes, **types)(features)
        return logits.astype(jnp.float32), features.astype(jnp.float32)
