"""PixelCNN++ (salimans2017): gated residual blocks, two resolutions, short-cuts, dropout.

Two streams as in the gated PixelCNN: v sees the rows above, h also the own row to the left. Half
resolution keeps every second row and column, whose pixel is the first of its 2 x 2 block, so that
nothing is seen too early when it is enlarged again.
"""

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.nets.blocks import check_image
from gen_jax.nets.causal import CausalConv, Label, per_unit, window
from gen_jax.types import Array, Float, Int

ABOVE = window(range(-1, 1), range(-1, 2))
CORNER = window(range(-1, 1), range(-1, 1))


def concat_elu(x: Float[Array, "B H W F"]) -> Float[Array, "B H W G"]:
    """elu(x) beside elu(-x)."""
    return nn.elu(jnp.concatenate([x, -x], -1))


def enlarge(x: Float[Array, "B H W F"], shape: tuple[int, ...]) -> Float[Array, "B H2 W2 F"]:
    """Every pixel twice along rows and columns, cut to the height and width of `shape`."""
    return x.repeat(2, axis=1).repeat(2, axis=2)[:, : shape[1], : shape[2]]


class Block(nn.Module):
    """x + a sigmoid(b), (a, b) = conv(dropout(concat_elu(conv(concat_elu(x)) + W short-cuts)))."""

    width: int
    offsets: tuple[tuple[int, int], ...]
    num_classes: int
    dropout: float

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W F"],
        more: list[Float[Array, "B H W G"]],
        condition: Int[Array, "B"] | None,
        deterministic: bool,
    ) -> Float[Array, "B H W F"]:
        h = CausalConv(self.width, self.offsets)(concat_elu(x))
        if more:
            h = h + nn.Dense(self.width)(concat_elu(jnp.concatenate(more, -1)))
        h = nn.Dropout(self.dropout)(concat_elu(h), deterministic=deterministic)
        h = CausalConv(2 * self.width, self.offsets)(h)
        h = h + Label(self.num_classes, 2 * self.width)(condition, x.shape[0])
        a, b = jnp.split(h, 2, axis=-1)
        return x + a * nn.sigmoid(b)


class PixelCNNPlusPlus(nn.Module):
    """`levels` resolutions with `blocks` blocks each on the way down and up; zero before training.

    A pixel is one unit: its channels are the likelihood's business.
    """

    outputs: int
    units: int = 1
    width: int = 32
    levels: int = 2
    blocks: int = 2
    num_classes: int = 0
    dropout: float = 0.0

    def __post_init__(self):
        for name in ("outputs", "width", "levels", "blocks"):
            check_range(name, getattr(self, name), 1, integer=True)
        check_range("units", self.units, 1, 1, integer=True)
        check_range("dropout", self.dropout, 0, 1)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        condition: Int[Array, "B"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B H W U P"]:
        """Numbers of each pixel from the pixels before it."""
        check_image(x)

        def both(v, h, skip=None):
            v_more, h_more = ([], []) if skip is None else ([skip[0]], [skip[1]])
            block = lambda offsets: Block(self.width, offsets, self.num_classes, self.dropout)
            v = block(ABOVE)(v, v_more, condition, deterministic)
            return v, block(CORNER)(h, [v, *h_more], condition, deterministic)

        # A plane of ones marks the image among the zeros around it.
        x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)
        v = CausalConv(self.width, window(range(-2, 0), range(-1, 2)))(x)
        h = v + CausalConv(self.width, window(range(1), range(-2, 0)))(x)
        skips = [(v, h)]
        for level in range(self.levels):
            if level:
                v = CausalConv(self.width, ABOVE)(v)[:, ::2, ::2]
                h = CausalConv(self.width, CORNER)(h)[:, ::2, ::2]
                skips.append((v, h))
            for _ in range(self.blocks):
                v, h = both(v, h)
                skips.append((v, h))
        for level in reversed(range(self.levels)):
            for _ in range(self.blocks + 1):
                v, h = both(v, h, skips.pop())
            if level:
                shape = skips[-1][0].shape
                v = CausalConv(self.width, ABOVE)(enlarge(v, shape))
                h = CausalConv(self.width, CORNER)(enlarge(h, shape))
        return per_unit(CausalConv(self.outputs, ((0, 0),), zero=True)(nn.elu(h)), 1)
