"""The critic of StyleGAN: two convolutions per resolution, growing with the generator."""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.errors import check_range, check_widths
from gen_jax.gan_nets.conditioning import condition_vector, join
from gen_jax.gan_nets.critic_head import CriticHead
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.gan_nets.equalized import Equalized, leaky
from gen_jax.gan_nets.growing import check_growth, grown_level
from gen_jax.gan_nets.minibatch import minibatch_deviation
from gen_jax.gan_nets.resampling import base_size, halve
from gen_jax.nets.blocks import check_image
from gen_jax.types import Array, Float, Int


class StyleCritic(nn.Module):
    """From the full resolution down to the smallest, then a dense layer and `CriticHead`.

    Fields:
      widths: channels of each resolution, from the smallest to the full one.
      features: of the dense layer.
      fade_steps: as in `StyleGenerator`; a resolution that has not faded in is not looked at.
      deviation: the smallest images are given the spread of their batch as a channel (karras2018),
        which shows the critic when samples are all alike, and ties a batch together.
    """

    widths: tuple[int, ...] = (64, 64, 32, 16)
    features: int = 64
    conditional: str = "none"
    num_classes: int = 0
    codes: int = 0
    fade_steps: int = 0
    deviation: bool = False

    takes: ClassVar[tuple[str, ...]] = ("step",)

    def __post_init__(self):
        check_widths("widths", self.widths)
        check_range("features", self.features, 1, integer=True)
        check_growth(self.fade_steps, len(self.widths))
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B ..."],
        condition: Any = None,
        *,
        train: bool = False,
        step: Int[Array, ""] | None = None,
    ) -> CriticOutput:
        check_image(x)
        last = len(self.widths) - 1
        base_size(x.shape[1:], last)
        if self.conditional == "concat":
            x = join(x, condition_vector(condition, self.num_classes, len(x)))
        grown = grown_level(step, self.fade_steps, last + 1)
        enter = lambda i: leaky(Equalized(self.widths[i], name=f"enter_{i}")(halve(x, last - i)))
        h = enter(last)
        for i in range(last, 0, -1):
            h = leaky(Equalized(self.widths[i], (3, 3))(h))
            h = halve(leaky(Equalized(self.widths[i - 1], (3, 3))(h)))
            if self.fade_steps:
                share = 1.0 if grown is None else jnp.clip(grown - (i - 1), 0, 1)
                h = share * h + (1 - share) * enter(i - 1)
        if self.deviation:
            h = minibatch_deviation(h)
        h = leaky(Equalized(self.widths[0], (3, 3))(h))
        h = leaky(Equalized(self.features)(h.reshape(len(h), -1)))
        return CriticHead(self.conditional, self.num_classes, self.codes)(h, condition, train=train)
