"""Row LSTM (oord2016pixel sec. 3.1): rows read one after the other, with a state per column.

The state above a pixel has seen a triangle of the image with its tip at the pixel; what lies
outside of it, above to either side, is not seen.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.nets.blocks import check_image
from gen_jax.nets.causal import (
    CausalConv,
    Label,
    check_units,
    check_window,
    neighbours,
    per_unit,
    raster,
    window,
)
from gen_jax.types import Array, Float, Int

BESIDE = window(range(1), range(-1, 2))


class RowLSTM(nn.Module):
    """One layer: gates from the own row up to each pixel (mask B) and three states from above.

    As the paper's: o, f, i, g = K_state * h_above + K_input * x; c = f c + i g; h = o tanh(c).
    """

    width: int
    groups: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "B H W F"]) -> Float[Array, "B H W F"]:
        left = window(range(1), range(-1, 1))
        gates = CausalConv(4 * self.width, left, self.groups, name="input")(x)
        init = nn.initializers.lecun_normal()
        kernel = self.param("state", init, (3 * self.width, 4 * self.width))

        def row(carry, gates):
            h, c = carry
            above = neighbours(h[:, None], BESIDE)[:, 0] @ kernel
            out, forget, let_in, new = jnp.split(gates + above, 4, axis=-1)
            c = nn.sigmoid(forget + 1) * c + nn.sigmoid(let_in) * nn.tanh(new)
            h = nn.sigmoid(out) * nn.tanh(c)
            return (h, c), h

        start = jnp.zeros((x.shape[0], x.shape[2], self.width), gates.dtype)
        return jax.lax.scan(row, (start, start), gates.swapaxes(0, 1))[1].swapaxes(0, 1)


class PixelRNN(nn.Module):
    """A `first` x `first` convolution with mask A, then residual row LSTMs; starts at zero."""

    outputs: int
    units: int = 1
    width: int = 32
    depth: int = 3
    first: int = 7
    num_classes: int = 0

    def __post_init__(self):
        for name in ("outputs", "units", "width", "depth"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_window("first", self.first)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], condition: Int[Array, "B"] | None = None
    ) -> Float[Array, "B H W U P"]:
        """Numbers of each unit from units before it."""
        check_image(x)
        check_units(self.units, x.shape[-1], self.width)
        groups = self.units

        def dense(features, **options):
            return CausalConv(features, ((0, 0),), groups, **options)

        h = CausalConv(self.width, raster(self.first, groups > 1), groups, strict=True)(x)
        h = h + Label(self.num_classes, self.width)(condition, x.shape[0])
        for _ in range(self.depth):
            h = h + dense(self.width)(RowLSTM(self.width, groups)(h))
        h = nn.relu(dense(self.width)(nn.relu(h)))
        return per_unit(dense(self.outputs * groups, zero=True)(h), groups)
