"""Generative adversarial networks: a generator and a critic that learn from each other.

`gan` makes a model of two networks (see `gan_nets.critic_output`), a loss, a penalty and remedies;
the losses and penalties are pure functions of scores and of callables. `pix2pix`, `cyclegan` and
`style_transfer` (by `adain`) go from image to image; `multi_view` separates content from view. Of a
trained model `generator` and `critic` give the networks as functions, `latents` their inputs.
"""

from gen_jax.gan.augmentation import AUGMENTATIONS
from gen_jax.gan.cyclegan import CycleGANOptions, cyclegan
from gen_jax.gan.generate import critic, generator, latents
from gen_jax.gan.image_pool import ImagePool, empty_pool, exchange
from gen_jax.gan.losses import GAN_LOSSES, LOSS_MAKERS, GanLoss, f_gan, gan_loss, lsgan
from gen_jax.gan.matching import matching_loss
from gen_jax.gan.model import gan, model_from_parts
from gen_jax.gan.multi_view import PairTransform, multi_view
from gen_jax.gan.optimal import OPTIMAL_CRITICS, optimal_critic
from gen_jax.gan.options import CONDITIONALS, GanState, Options, Parts, make_parts
from gen_jax.gan.penalties import PENALTIES
from gen_jax.gan.pix2pix import Pix2PixOptions, pix2pix
from gen_jax.gan.rejection import discriminator_rejection
from gen_jax.gan.sharpening import sample_by_rejection, sharpened_critic
from gen_jax.gan.style_transfer import StyleOptions, adain, style_transfer

__all__ = [
    "AUGMENTATIONS",
    "CONDITIONALS",
    "GAN_LOSSES",
    "LOSS_MAKERS",
    "OPTIMAL_CRITICS",
    "PENALTIES",
    "CycleGANOptions",
    "GanLoss",
    "GanState",
    "ImagePool",
    "Options",
    "PairTransform",
    "Parts",
    "Pix2PixOptions",
    "StyleOptions",
    "adain",
    "critic",
    "cyclegan",
    "discriminator_rejection",
    "empty_pool",
    "exchange",
    "f_gan",
    "gan",
    "gan_loss",
    "generator",
    "latents",
    "lsgan",
    "make_parts",
    "matching_loss",
    "model_from_parts",
    "multi_view",
    "optimal_critic",
    "pix2pix",
    "sample_by_rejection",
    "sharpened_critic",
    "style_transfer",
]
