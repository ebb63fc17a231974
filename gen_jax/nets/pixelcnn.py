"""PixelCNN: masked convolutions (oord2016pixel sec. 3). It has a blind spot above to the right."""

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
    raster,
    whole,
)
from gen_jax.types import Array, Float, Int


class PixelCNN(nn.Module):
    """A `first` x `first` convolution with mask A, then residual blocks with mask B.

    Block: h + W2 relu(conv(relu(W1 relu(h)))), half as wide inside. Each layer sees `kernel` // 2
    columns to the right per row above, so that pixels above and farther right are never seen.
    """

    outputs: int
    units: int = 1
    width: int = 32
    depth: int = 6
    kernel: int = 3
    first: int = 7
    num_classes: int = 0

    def __post_init__(self):
        for name in ("outputs", "units", "width", "depth"):
            check_range(name, getattr(self, name), 1, integer=True)
        for name in ("kernel", "first"):
            check_window(name, getattr(self, name))
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], condition: Int[Array, "B"] | None = None, see: See = whole
    ) -> Float[Array, "B H W U P"]:
        """Numbers of each unit from the units before it; zero before training."""
        check_image(x)
        check_units(self.units, x.shape[-1], self.width // 2)
        groups = self.units

        def dense(features, **options):
            return CausalConv(features, ((0, 0),), groups, **options)

        conv = CausalConv(self.width, raster(self.first, groups > 1), groups, strict=True)
        h = conv(x, see) + Label(self.num_classes, self.width)(condition, x.shape[0])
        for _ in range(self.depth):
            r = nn.relu(dense(self.width // 2)(nn.relu(h)))
            r = CausalConv(self.width // 2, raster(self.kernel, True), groups)(r, see)
            h = h + dense(self.width)(nn.relu(r))
        h = nn.relu(dense(self.width)(nn.relu(h)))
        return per_unit(dense(self.outputs * groups, zero=True)(h), groups)
