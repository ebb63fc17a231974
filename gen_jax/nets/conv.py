"""A small residual convolutional network whose outputs are zero before training."""

from flax import linen as nn

from gen_jax.nets.blocks import check_image
from gen_jax.types import Array, Float


class ConvNet(nn.Module):
    """3x3 to `width` channels, `depth` residual blocks (3x3, 1x1) with silu, 3x3 to `size`."""

    size: int
    width: int = 32
    depth: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W P"]:
        """[B, H, W, size]; raises ConfigError unless x is a batch of images."""
        check_image(x)
        h = nn.Conv(self.width, (3, 3))(x)
        for _ in range(self.depth):
            inner = nn.silu(nn.Conv(self.width, (3, 3))(nn.silu(h)))
            h = h + nn.Conv(self.width, (1, 1))(inner)
        return nn.Conv(self.size, (3, 3), kernel_init=nn.initializers.zeros, name="out")(nn.silu(h))
