"""Generative adversarial networks: a generator and a critic that learn from each other."""

from gen_jax.gan.losses import GAN_LOSSES, GanLoss, f_gan, gan_loss, lsgan

__all__ = ["GAN_LOSSES", "GanLoss", "f_gan", "gan_loss", "lsgan"]
