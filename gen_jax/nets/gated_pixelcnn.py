"""Gated PixelCNN (oord2016conditional): a stack for the rows above and one for the own row.

The vertical stack sees every pixel of the rows above, the horizontal one those to the left and the
vertical stack: together all pixels before, without a blind spot.
"""

from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.nets.blocks import check_image
from gen_jax.nets.causal import (
    CausalConv,
    Label,
    See,
    check_units,
    check_window,
    per_unit,
    whole,
    window,
)
from gen_jax.types import Array, Float, Int


def gate(h: Float[Array, "B H W two"]) -> Float[Array, "B H W F"]:
    """tanh(a) sigmoid(b) of the two halves of the features (eq. 2)."""
    a, b = h[..., : h.shape[-1] // 2], h[..., h.shape[-1] // 2 :]
    return nn.tanh(a) * nn.sigmoid(b)


class Vertical(nn.Module):
    """What each layer adds to the horizontal stack from the rows above, [B, H, W, 2 width]."""

    width: int
    depth: int
    kernel: int
    num_classes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], condition: Int[Array, "B"] | None = None, see: See = whole
    ) -> list[Float[Array, "B H W F"]]:
        reach = self.kernel // 2
        across = range(-reach, reach + 1)
        vertical, v = [], x
        for layer in range(self.depth):
            rows = range(-reach, 1) if layer else range(-reach - 1, 0)
            h = CausalConv(2 * self.width, window(rows, across), strict=layer == 0)(v, see)
            h = h + Label(self.num_classes, 2 * self.width)(condition, x.shape[0])
            vertical.append(nn.Dense(2 * self.width)(h))
            v = gate(h) if layer == 0 else v + gate(h)
        return vertical


class Horizontal(nn.Module):
    """The numbers of each unit from its own row to the left and from the rows above."""

    outputs: int
    units: int
    width: int
    depth: int
    kernel: int
    num_classes: int

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        vertical: list[Float[Array, "B H W F"]],
        condition: Int[Array, "B"] | None = None,
        see: See = whole,
    ) -> Float[Array, "B H W U P"]:
        groups, reach = self.units, self.kernel // 2

        def dense(features, **options):
            return CausalConv(features, ((0, 0),), groups, **options)

        h = x
        for layer, above in enumerate(vertical):
            columns = range(-reach, 1) if layer or groups > 1 else range(-reach, 0)
            offsets = window(range(1), columns)
            conv = CausalConv(2 * self.width, offsets, groups, strict=layer == 0)
            mixed = conv(h, see) + above
            mixed = mixed + Label(self.num_classes, 2 * self.width)(condition, x.shape[0])
            out = dense(self.width)(gate(mixed))
            h = h + out if layer else out
        h = nn.relu(dense(self.width)(nn.relu(h)))
        return per_unit(dense(self.outputs * groups, zero=True)(h), groups)


class GatedPixelCNN(nn.Module):
    """Two stacks of `depth` layers of `kernel` x `kernel` windows; zero before training.

    `rows` and `columns` are the two stacks alone, which cached sampling calls in turn.
    """

    outputs: int
    units: int = 1
    width: int = 32
    depth: int = 8
    kernel: int = 3
    num_classes: int = 0

    def __post_init__(self):
        for name in ("outputs", "units", "width", "depth"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_window("kernel", self.kernel)
        super().__post_init__()

    def setup(self):
        self.vertical = Vertical(self.width, self.depth, self.kernel, self.num_classes)
        self.horizontal = Horizontal(
            self.outputs, self.units, self.width, self.depth, self.kernel, self.num_classes
        )

    def rows(self, x, condition=None, see=whole):
        """The vertical stack: a list of [B, H, W, 2 width]."""
        return self.vertical(x, condition, see)

    def columns(self, x, vertical, condition=None, see=whole):
        """The horizontal stack, [B, H, W, U, P]."""
        return self.horizontal(x, vertical, condition, see)

    def __call__(
        self, x: Float[Array, "B H W C"], condition: Int[Array, "B"] | None = None
    ) -> Float[Array, "B H W U P"]:
        """Numbers of each unit from the units before it."""
        check_image(x)
        check_units(self.units, x.shape[-1], self.width)
        return self.columns(x, self.rows(x, condition), condition)
