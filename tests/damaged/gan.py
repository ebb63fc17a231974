"""Models with one callable damaged: GANs."""

import numpy as np
from flax import linen as nn

from damaged.common import ADAM, IMAGES, LIKE_X, PER_POINT, POINTS, B, Damaged
from gen_jax import data, gan, gan_nets

PAIRS = {"x": np.random.default_rng(2).integers(0, 256, (B, 8, 16, 1)).astype(np.uint8)}
UNITS = data.chain(data.to_unit(), data.to_symmetric())


class DamagedMaker(nn.Module):
    """The same of a generator, with its face."""

    network: nn.Module
    damage: object

    def __call__(self, z, condition=None, *, train=False):
        return self.damage(self.network(z, condition, train=train))


def critic_with(damage):
    return lambda said: said._replace(score=damage(said.score))


POINT_GAN = {"shape": (2,), "latent": 2}
TRANSLATION = {"shape": (8, 16, 1), "transform": UNITS}
MAKER, PATCHES = gan_nets.UNetGenerator(1, (4, 4)), gan_nets.PatchCritic(4, 1)
VIEWS = {"shape": (8, 8, 1), "content": 2, "view": 1, "views": lambda key, x: x}
DCGAN = gan_nets.DCGANGenerator((8, 8, 1), (4,)), gan_nets.DCGANCritic((4,))
CALLABLES = {
    "gan.gan/generator": (
        lambda f: gan.gan(
            Damaged(gan_nets.MLPGenerator((2,), (4,)), f),
            gan_nets.MLPCritic((4,)),
            ADAM,
            ADAM,
            **POINT_GAN,
        ),
        LIKE_X,
        POINTS,
    ),
    "gan.gan/critic": (
        lambda f: gan.gan(
            gan_nets.MLPGenerator((2,), (4,)),
            Damaged(gan_nets.MLPCritic((4,)), critic_with(f)),
            ADAM,
            ADAM,
            **POINT_GAN,
        ),
        PER_POINT,
        POINTS,
    ),
    "gan.multi_view/generator": (
        lambda f: gan.multi_view(
            DamagedMaker(DCGAN[0], f),
            DCGAN[1],
            ADAM,
            ADAM,
            transform=data.symmetric_images(),
            **VIEWS,
        ),
        {"one column": lambda out: out[:, :, :1]},
        IMAGES,
    ),
    "gan.pix2pix/generator": (
        lambda f: gan.pix2pix(Damaged(MAKER, f), PATCHES, ADAM, ADAM, **TRANSLATION),
        {"one row": lambda out: out[:, :1], "a sum": LIKE_X["a sum"]},
        PAIRS,
    ),
    "gan.pix2pix/critic": (
        lambda f: gan.pix2pix(MAKER, Damaged(PATCHES, f), ADAM, ADAM, **TRANSLATION),
        {"channels": lambda out: out[..., None], "a mean": lambda out: out.mean()},
        PAIRS,
    ),
    "gan.cyclegan/generator": (
        lambda f: gan.cyclegan(
            Damaged(gan_nets.ResNetGenerator(1, (4, 4), 1), f), PATCHES, ADAM, ADAM, **TRANSLATION
        ),
        {"one row": lambda out: out[:, :1]},
        PAIRS,
    ),
    "gan.cyclegan/critic": (
        lambda f: gan.cyclegan(
            gan_nets.ResNetGenerator(1, (4, 4), 1), Damaged(PATCHES, f), ADAM, ADAM, **TRANSLATION
        ),
        {"channels": lambda out: out[..., None], "a mean": lambda out: out.mean()},
        PAIRS,
    ),
    "gan.style_transfer/decoder": (
        lambda f: gan.style_transfer(
            lambda x: [x], Damaged(nn.Conv(1, (3, 3)), f), ADAM, **TRANSLATION
        ),
        {"one row": lambda out: out[:, :1], "a further axis": LIKE_X["a further axis"]},
        PAIRS,
    ),
}
