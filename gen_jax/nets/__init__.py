"""Flax Linen networks, without losses.

Conditional networks share one face: `network.apply(variables, x, noise, condition=None)` with x [B,
...], `noise` [B] (or one number) the bounded log noise level log(sigma / alpha) / 4, and the value
of a condition (see `gen_jax.conditions`), such as labels [B] in 0 .. num_classes, where num_classes
means "no label" and is also what None stands for. A model sets their `num_classes`. The result has
x's shape (with `outputs=2`, twice its channels), is float32, and is zero before training. `dtype`
is what a network computes in, `param_dtype` what it stores. Networks that are no Linen modules
enter by `from_functions` and `from_nnx`.

`FourierFeatures` shows such a network the last bits of x. `MonotoneSchedule` is a learned log-SNR.
`MADE`, `Feedforward`, `ConvNet` and `CausalTransformer` are the conditioners of flows, `EnergyNet`
gives energies and logits; they take x and perhaps a condition. Autoregressive networks (`MADE`,
`PixelRNN`, `PixelCNN`, `GatedPixelCNN`, `PixelCNNPlusPlus`, `Transformer`) return the numbers of
each place from the places before it. Generators and critics of GANs are in `gen_jax.gan_nets`.
"""

from gen_jax.nets import lora
from gen_jax.nets.adapters import FunctionNetwork, NNXNetwork, from_functions, from_nnx
from gen_jax.nets.causal_transformer import CausalTransformer
from gen_jax.nets.classifier import Classifier
from gen_jax.nets.control import ControlledDiT, beside, control_params
from gen_jax.nets.conv import ConvNet
from gen_jax.nets.cross_attention import CrossAttention
from gen_jax.nets.dit import DiT
from gen_jax.nets.energy_net import EnergyNet
from gen_jax.nets.feedforward import Feedforward
from gen_jax.nets.fourier import FourierFeatures
from gen_jax.nets.gated_pixelcnn import GatedPixelCNN
from gen_jax.nets.made import MADE
from gen_jax.nets.mlp import MLP
from gen_jax.nets.monotone import MonotoneSchedule
from gen_jax.nets.personal import personal, with_class
from gen_jax.nets.pixel_rnn import PixelRNN
from gen_jax.nets.pixelcnn import PixelCNN
from gen_jax.nets.pixelcnn_pp import PixelCNNPlusPlus
from gen_jax.nets.token_dit import TokenDiT
from gen_jax.nets.token_transformer import TokenTransformer
from gen_jax.nets.transformer import Transformer
from gen_jax.nets.unet import UNet

NETWORKS = {"mlp": MLP, "unet": UNet, "dit": DiT}
"""Every conditional network by name; the defaults are small ones."""

__all__ = [
    "MADE",
    "MLP",
    "NETWORKS",
    "CausalTransformer",
    "Classifier",
    "ControlledDiT",
    "ConvNet",
    "CrossAttention",
    "DiT",
    "EnergyNet",
    "Feedforward",
    "FourierFeatures",
    "FunctionNetwork",
    "GatedPixelCNN",
    "MonotoneSchedule",
    "NNXNetwork",
    "PixelCNN",
    "PixelCNNPlusPlus",
    "PixelRNN",
    "TokenDiT",
    "TokenTransformer",
    "Transformer",
    "UNet",
    "beside",
    "control_params",
    "from_functions",
    "from_nnx",
    "lora",
    "personal",
    "with_class",
]
