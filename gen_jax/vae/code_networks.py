"""Convolutional networks around one or several levels of codes (oord2017; razavi2019)."""

from collections.abc import Callable, Sequence

from flax import linen as nn

from gen_jax.errors import ConfigError, check_range
from gen_jax.nets.blocks import check_image, depth_to_space, space_to_depth
from gen_jax.types import Array, Float

Quantise = Callable[[int, Array], Array]
"""`(level, z [B, h, w, D]) -> q [B, h, w, D]`."""


class Residual(nn.Module):
    """h + conv1x1(silu(conv3x3(silu(h))))."""

    width: int

    @nn.compact
    def __call__(self, h: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        inner = nn.Conv(self.width, (3, 3))(nn.silu(h))
        return h + nn.Conv(self.width, (1, 1))(nn.silu(inner))


class CodeNetwork(nn.Module):
    """Encoder and decoder with `levels` maps of codes, each of half the side of the one before.

    The first map has the image's side divided by 2^halvings. A level's encoding sees the codes of
    the levels above (razavi2019); the decoder sees all. Raises ConfigError for images that cannot
    be halved so often.
    """

    outputs: int
    width: int = 64
    dim: int = 16
    halvings: int = 2
    levels: int = 1

    def setup(self):
        check_range("halvings", self.halvings, 1, integer=True)
        check_range("levels", self.levels, 1, integer=True)
        layer = lambda size: nn.Conv(size, (1, 1))
        downs = [self.halvings] + [1] * (self.levels - 1)
        self.down = [[layer(self.width) for _ in range(n)] for n in downs]
        self.down_blocks = [Residual(self.width) for _ in range(self.levels)]
        self.to_codes = [layer(self.dim) for _ in range(self.levels)]
        self.up = [layer(4 * self.width) for _ in range(self.levels)]
        self.mix = [layer(self.width) for _ in range(self.levels)]
        self.up_blocks = [Residual(self.width) for _ in range(self.levels)]
        self.last = [layer(4 * self.width) for _ in range(self.halvings)]
        self.last_blocks = [Residual(self.width) for _ in range(self.halvings)]
        self.out = nn.Conv(self.outputs, (3, 3), kernel_init=nn.initializers.zeros)

    def check(self, x: Array) -> None:
        """Raise ConfigError unless x is a batch of images that can be halved."""
        check_image(x)
        shapes_of((x.shape[1], x.shape[2]), self.halvings, self.levels)

    def encode(self, x: Float[Array, "B H W C"], quantise: Quantise) -> list[Array]:
        """The quantised maps, the finest first; `quantise` is called from the coarsest on."""
        self.check(x)
        features = []
        for layers, block in zip(self.down, self.down_blocks):
            for layer in layers:
                x = layer(space_to_depth(x, 2))
            features.append(x := block(x))
        above: Array | None = None
        found: list[Array] = []
        for level in reversed(range(self.levels)):
            seen = features[level]
            if above is not None:
                seen = seen + depth_to_space(self.up[level](above), 2)
            found.insert(0, quantise(level, self.to_codes[level](nn.silu(seen))))
            above = self._join(level, found[0], above)
        return found

    def _join(self, level: int, q: Array, above: Array | None) -> Array:
        """Features of a level from its codes and those above."""
        h = self.mix[level](q)
        if above is not None:
            h = h + depth_to_space(self.up[level](above), 2)
        return self.up_blocks[level](h)

    def decode(self, codes: Sequence[Array]) -> Float[Array, "B H W P"]:
        """Numbers for each pixel from the maps of codes [B, h, w, D], the finest first."""
        h: Array | None = None
        for level in reversed(range(self.levels)):
            h = self._join(level, codes[level], h)
        assert h is not None
        for layer, block in zip(self.last, self.last_blocks):
            h = block(depth_to_space(layer(h), 2))
        return self.out(nn.silu(h))

    def __call__(self, x: Array, quantise: Quantise = lambda level, z: z) -> Array:
        return self.decode(self.encode(x, quantise))


def shapes_of(side: tuple[int, int], halvings: int, levels: int) -> list[tuple[int, int]]:
    """Sides of each level's map of codes; raises ConfigError for sides that cannot be halved."""
    times = halvings + levels - 1
    if any(length % 2**times for length in side):
        raise ConfigError(
            f"images of {side[0]} x {side[1]} cannot be halved {times} times "
            f"(halvings={halvings}, levels={levels}): each side must be a multiple of {2**times}"
        )
    factors = [2 ** (halvings + level) for level in range(levels)]
    return [(side[0] // f, side[1] // f) for f in factors]
