"""What a network sees beside its input: the noise level, the label, the place in the image.

All of it is computed in float32 whatever the network computes in: bfloat16 has 8 bits of mantissa
and would round neighbouring noise levels onto each other.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int


def sinusoidal(
    value: Float[Array, "..."], width: int, low: float = 1.0, high: float = 64.0
) -> Float[Array, "... width"]:
    """[cos(w_i value), sin(w_i value)], w_i geometric from `low` to `high` rad per unit; float32.

    With noise levels in (-2.5, 2.5) the slowest wave tells both ends apart and the fastest turns by
    0.3 rad between neighbours of a 1000-step grid (vaswani2017 sec. 3.5 with frequencies for a
    bounded input). Raises ConfigError unless `width` is even.
    """
    if width < 2 or width % 2:
        raise ConfigError(f"width={width} of a sinusoidal embedding must be an even number >= 2")
    frequencies = jnp.asarray(np.geomspace(low, high, width // 2), jnp.float32)
    angle = jnp.asarray(value, jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def position_2d(height: int, width: int, features: int) -> Float[Array, "N features"]:
    """Fixed sin-cos embedding of a grid's rows and columns, row by row (dosovitskiy2021).

    Half of the features hold the row and half the column, with periods from 2 pi to 2 pi 10^4 grid
    cells. Raises ConfigError unless `features` is a multiple of 4 and at least 8.
    """
    if features % 4 or features < 8:
        raise ConfigError(f"features={features} of a 2-D position must be a multiple of 4, >= 8")
    rows, columns = (
        sinusoidal(jnp.arange(n, dtype=jnp.float32), features // 2, 1e-4, 1.0)
        for n in (height, width)
    )
    grid = jnp.concatenate(
        [
            jnp.broadcast_to(rows[:, None], (height, width, features // 2)),
            jnp.broadcast_to(columns[None, :], (height, width, features // 2)),
        ],
        axis=-1,
    )
    return grid.reshape(height * width, features)


class ConditionEmbedding(nn.Module):
    """One float32 vector per example from its noise level and, when there are classes, its label.

    A two-layer network over sinusoidal features, plus a learned row per class; row `num_classes`
    means "no label" and stands in when `label` is None. A label outside 0 .. num_classes gives NaN,
    never another class.
    """

    width: int
    num_classes: int = 0
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, noise: Float[Array, "B"], label: Int[Array, "B"] | None = None
    ) -> Float[Array, "B width"]:
        """Raises ConfigError for a label when the network has no classes."""
        check_range("num_classes", self.num_classes, 0, integer=True)
        dense = lambda name: nn.Dense(
            self.width, dtype=jnp.float32, param_dtype=self.param_dtype, name=name
        )
        h = dense("noise_in")(sinusoidal(noise, self.width))
        h = dense("noise_out")(nn.silu(h))
        if self.num_classes == 0:
            if label is not None:
                raise ConfigError("label was given to a network with num_classes=0")
            return h
        if label is None:
            label = jnp.full(noise.shape, self.num_classes, jnp.int32)
        table = self.param(
            "label",
            nn.initializers.normal(1.0),
            (self.num_classes + 1, self.width),
            self.param_dtype,
        )
        return h + table.astype(jnp.float32).at[label].get(
            mode="fill", fill_value=jnp.nan, wrap_negative_indices=False
        )


def per_example(noise: Float[Array, "*batch"], x: Float[Array, "B ..."]) -> Float[Array, "B"]:
    """Broadcast one noise level to the whole batch; raise ConfigError for any other mismatch."""
    if noise.shape not in ((), x.shape[:1]):
        raise ConfigError(f"noise has shape {noise.shape}, must be () or ({x.shape[0]},)")
    return jnp.broadcast_to(jax.lax.convert_element_type(noise, jnp.float32), x.shape[:1])
