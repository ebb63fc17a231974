"""What a network sees beside its input: the noise level, the label, the place in the image.

All of it is computed in float32 whatever the network computes in: bfloat16 has 8 bits of mantissa
and would round neighbouring noise levels onto each other.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from gen_jax.axes import rows_of
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int, Num


def sinusoidal(
    value: Float[Array, "..."], width: int, low: float = 0.25, high: float = 4.0
) -> Float[Array, "... width"]:
    """[cos(w_i value), sin(w_i value)], w_i geometric from `low` to `high` rad per unit; float32.

    With noise levels log(sigma / alpha) / 4 in (-2.5, 2.5) the slowest wave separates both ends and
    the fastest turns by 1 rad while sigma / alpha grows e times (vaswani2017 sec. 3.5 with other
    frequencies). Faster waves make a network rough in the noise level, which costs samplers of high
    order their accuracy. Raises ConfigError unless `width` is even.
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


def vectors_of_values(
    module: Any, name: str, x: Int[Array, "B N"], width: int, field: str, count: int
) -> Float[Array, "B N E"]:
    """A vector for each token's value, from a table of the module; to be called inside `compact`.

    Args:
      module: with the fields `vocabulary` and `param_dtype`; `name` is that of its table.
      field: of the module, which says that it takes `count` tokens.
    Raises ConfigError for another number of tokens.
    """
    if x.shape[1] != count:
        given = f"{field}={getattr(module, field)}"
        raise ConfigError(f"{x.shape[1]} tokens were given to a network of {given}")
    init, shape = nn.initializers.normal(1.0), (module.vocabulary, width)
    return rows_of(module.param(name, init, shape, module.param_dtype), x)


class ConditionEmbedding(nn.Module):
    """One float32 vector per example from its noise level, its label and its sentence.

    A two-layer network over sinusoidal features, plus a learned row per class; row `num_classes`
    means "no label" and stands in when the label is None. A label outside 0 .. num_classes gives
    NaN, never another class. A second time (of a flow map) enters by its difference to the first,
    through a layer that is zero at first, so that a network of one time is a valid start. Of a
    sentence the mean of its words' embeddings enters; padding is not read.
    """

    width: int
    num_classes: int = 0
    param_dtype: Any = jnp.float32
    vocabulary: int = 0

    @nn.compact
    def __call__(
        self,
        noise: Float[Array, "B *times"],
        label: Int[Array, "B"] | None = None,
        caption: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B width"]:
        """Raises ConfigError for a label when the network has no classes."""
        check_range("num_classes", self.num_classes, 0, integer=True)
        types = {"dtype": jnp.float32, "param_dtype": self.param_dtype}
        dense = lambda name, **more: nn.Dense(self.width, name=name, **types, **more)
        first = noise if noise.ndim == 1 else noise[:, 0]
        h = dense("noise_in")(sinusoidal(first, self.width))
        h = dense("noise_out")(nn.silu(h))
        if noise.ndim == 2:
            gap = sinusoidal(noise[:, 0] - noise[:, 1], self.width, 1 / 16, 1.0)
            gap = nn.silu(dense("gap_in")(gap))
            h = h + dense("gap_out", kernel_init=nn.initializers.zeros)(gap)
        if caption is not None:
            h = h + SentenceMean(self.vocabulary, self.width, self.param_dtype)(caption)
        if self.num_classes == 0:
            if label is not None:
                raise ConfigError("label was given to a network with num_classes=0")
            return h
        if label is None:
            label = jnp.full(noise.shape[:1], self.num_classes, jnp.int32)
        table = self.param(
            "label",
            nn.initializers.normal(1.0),
            (self.num_classes + 1, self.width),
            self.param_dtype,
        )
        return h + rows_of(table.astype(jnp.float32), label)


class SentenceMean(nn.Module):
    """A two-layer network of the mean of the embeddings of words and of their places."""

    vocabulary: int
    width: int
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B width"]:
        """Zeros at the mean of an empty sentence; NaN for tokens outside the vocabulary."""
        init = nn.initializers.normal(1.0)
        words = self.param("words", init, (self.vocabulary, self.width), self.param_dtype)
        places = self.param("places", init, (tokens.shape[1], self.width), self.param_dtype)
        found = rows_of(words.astype(jnp.float32), tokens)
        there = (tokens != 0)[..., None]
        total = jnp.sum(jnp.where(there, found * (1 + 0.5 * places), 0), axis=1)
        mean = total / jnp.maximum(there.sum(1), 1)
        types = {"dtype": jnp.float32, "param_dtype": self.param_dtype}
        return nn.Dense(self.width, **types)(nn.silu(nn.Dense(self.width, **types)(mean)))


def per_example(noise: Float[Array, "*batch"], x: Num[Array, "B ..."]) -> Float[Array, "B *times"]:
    """Broadcast one noise level to the whole batch; [B, 2] of a flow map stays.

    Raises ConfigError for any other mismatch.
    """
    noise = jax.lax.convert_element_type(noise, jnp.float32)
    if noise.shape == (x.shape[0], 2):
        return noise
    if noise.shape not in ((), x.shape[:1]):
        raise ConfigError(
            f"noise has shape {noise.shape}, must be () or ({x.shape[0]},), or ({x.shape[0]}, 2) "
            "of a flow map"
        )
    return jnp.broadcast_to(noise, x.shape[:1])
