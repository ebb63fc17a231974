"""Models of images, pixel by pixel: PixelRNN, PixelCNN, gated PixelCNN, PixelCNN++."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.cached_pixels import gated_decoder, plain_decoder
from gen_jax.autoregressive.factorisation import Factorisation
from gen_jax.autoregressive.likelihoods import LIKELIHOODS, Likelihood
from gen_jax.autoregressive.model import autoregressive
from gen_jax.checks import no_type_check
from gen_jax.conditions import checked_condition, configured
from gen_jax.errors import ConfigError, check_choice, check_shape
from gen_jax.model import GenerativeModel
from gen_jax.nets import GatedPixelCNN, PixelCNN, PixelCNNPlusPlus, PixelRNN

NETWORKS: dict[str, Callable[..., Any]] = {
    "pixel_rnn": PixelRNN,
    "pixelcnn": PixelCNN,
    "gated": GatedPixelCNN,
    "pixelcnn_pp": PixelCNNPlusPlus,
}
"""Networks of `pixel_model` by name."""

DECODERS = {PixelCNN: plain_decoder, GatedPixelCNN: gated_decoder}
"""How the networks that can be cached are sampled."""


def factorise(network: Any, likelihood: Likelihood, shape: tuple[int, ...]) -> Factorisation:
    """A network of NETWORKS on images [H, W, C], row by row; units are values or pixels."""
    num = shape[0] * shape[1] * network.units

    def image(u):
        return likelihood.inputs(u.reshape(len(u), *shape))

    def raw(params, u, value, k, **training):
        out = network.apply(params, image(u), value, **training)
        return out.reshape(len(u), num, -1)

    def init(key, value):
        return network.init(key, jnp.zeros((1, *shape)), value)

    decoder = None
    if type(network) in DECODERS:
        make = DECODERS[type(network)]
        decoder = lambda params, value, k: make(network, params, value, shape, likelihood.inputs)
    return Factorisation(init, raw, np.arange(num)[None], decoder)


@no_type_check
def pixel_model(
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    network: str = "gated",
    likelihood: str | Likelihood = "categorical",
    dropout: float = 0.0,
    sizes: dict[str, Any] | None = None,
    **options: Any,
) -> GenerativeModel:
    """An autoregressive model of images with exact log p; `options` are the fields of `Options`.

    Args:
      shape: [H, W, C] of an image.
      network: a name in NETWORKS.
      likelihood: a name in LIKELIHOODS, or one of their results, of one channel or of all C.
      dropout: of PixelCNN++.
      sizes: of the network, its fields.
    Raises ConfigError for names, sizes and combinations that cannot work.
    """
    kind = NETWORKS[check_choice("network", network, NETWORKS)]
    if len(check_shape("shape", shape)) != 3:
        raise ConfigError(f"shape={shape} must be an image's [H, W, C]")
    if isinstance(likelihood, str):
        likelihood = LIKELIHOODS[check_choice("likelihood", likelihood, LIKELIHOODS)]()
    if likelihood.event not in (1, shape[2]):
        raise ConfigError(
            f"likelihood of {likelihood.event} channels does not fit images of {shape[2]}"
        )
    sizes = dict(sizes or {})
    if dropout:
        if network != "pixelcnn_pp":
            raise ConfigError(f"dropout={dropout} is an option of pixelcnn_pp, not of {network}")
        sizes["dropout"], options["dropout"] = dropout, True
    units = shape[2] // likelihood.event
    net = kind(outputs=likelihood.size, units=units, **sizes)
    net = configured("network", net, checked_condition(options.get("condition")))
    factorisation = factorise(net, likelihood, tuple(shape))
    return autoregressive(factorisation, likelihood, optimizer, shape=shape, **options)
