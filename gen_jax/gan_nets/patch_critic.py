"""PatchGAN: a critic that judges every patch of an image by itself (isola2017, sec. 3.2.2)."""

from flax import linen as nn

from gen_jax.errors import check_range
from gen_jax.gan_nets.unet_generator import STRIDES
from gen_jax.nets.blocks import check_image, instance_norm
from gen_jax.types import Array, Float


def receptive_field(halvings: int) -> int:
    """Side of the patch that one score of a `PatchCritic` sees: 16, 34, 70 for 1, 2, 3 halvings.

    Backwards through its 4x4 convolutions, the last two of stride 1: r -> stride (r - 1) + 4.
    """
    side = 7
    for _ in range(halvings):
        side = 2 * side + 2
    return side


class PatchCritic(nn.Module):
    """4x4 convolutions: `halvings` of stride 2, whose width doubles up to 8 times the first, two of
    stride 1, leaky relu (slope 0.2) between.

    The scores have ceil(H / 2^halvings) rows. Each sees `receptive_field(halvings)` pixels square;
    instance normalisation (all but first and last) adds the mean and the variance of whole maps.
    """

    width: int = 32
    halvings: int = 2
    normalise: bool = True

    def __post_init__(self):
        check_range("width", self.width, 1, integer=True)
        check_range("halvings", self.halvings, 0, integer=True)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w"]:
        """One score per patch; of a pair, the images are stacked along the channels."""
        check_image(x)
        for level in range(self.halvings + 1):
            strides = STRIDES if level < self.halvings else (1, 1)
            x = nn.Conv(self.width * 2 ** min(level, 3), (4, 4), strides)(x)
            x = instance_norm(x) if level and self.normalise else x
            x = nn.leaky_relu(x, 0.2)
        return nn.Conv(1, (4, 4), name="out")(x)[..., 0]
