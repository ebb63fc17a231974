"""Generators and critics of GANs, with the face that `critic_output` describes.

Those of translation (`UNetGenerator`, `ResNetGenerator`) map an image to an image, and
`PatchCritic` scores every patch.
"""

from gen_jax.gan_nets.autoencoder_critic import AutoencoderCritic
from gen_jax.gan_nets.biggan import BigGANGenerator
from gen_jax.gan_nets.captioned import Captioned, SentenceEncoder
from gen_jax.gan_nets.conditioning import Mixed
from gen_jax.gan_nets.critic_head import CriticHead
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.gan_nets.dcgan import DCGANCritic, DCGANGenerator
from gen_jax.gan_nets.gan_mlp import MLPCritic, MLPGenerator
from gen_jax.gan_nets.lipschitz import LipschitzCritic
from gen_jax.gan_nets.pair_generator import PairGenerator
from gen_jax.gan_nets.patch_critic import PatchCritic
from gen_jax.gan_nets.resnet_generator import ResNetGenerator
from gen_jax.gan_nets.sagan import ResidualCritic, SAGANGenerator
from gen_jax.gan_nets.style_critic import StyleCritic
from gen_jax.gan_nets.style_decoder import StyleDecoder
from gen_jax.gan_nets.stylegan import StyleGenerator
from gen_jax.gan_nets.unet_generator import UNetGenerator

__all__ = [
    "AutoencoderCritic",
    "BigGANGenerator",
    "Captioned",
    "CriticHead",
    "CriticOutput",
    "DCGANCritic",
    "DCGANGenerator",
    "LipschitzCritic",
    "MLPCritic",
    "MLPGenerator",
    "Mixed",
    "PairGenerator",
    "PatchCritic",
    "ResNetGenerator",
    "ResidualCritic",
    "SAGANGenerator",
    "SentenceEncoder",
    "StyleCritic",
    "StyleDecoder",
    "StyleGenerator",
    "UNetGenerator",
]
