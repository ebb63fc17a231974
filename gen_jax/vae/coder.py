"""The networks of a VAE as functions: encode, decode and prior at given parameters."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax import conditions
from gen_jax.checks import check_output
from gen_jax.data_units import Data
from gen_jax.errors import ConfigError, check_choice, check_range, check_shape
from gen_jax.types import Array, Float, Int, Key, Num, State
from gen_jax.vae.elbo import KL_KINDS
from gen_jax.vae.likelihoods import Likelihood, make_likelihood
from gen_jax.vae.posterior import Posterior, PosteriorFamily
from gen_jax.vae.posteriors import make_posterior
from gen_jax.vae.priors import Prior, PriorFamily, make_prior
from gen_jax.vae.units import to_values

Network = Callable[[int], nn.Module]
"""Number of outputs -> Flax module `[B, E] -> [B, outputs]`."""


class Options(NamedTuple):
    """How a VAE is made; see `vae` for those of training.

    Fields:
      shape: of one example after the transform.
      latent: dimension of z.
      likelihood, prior, posterior: names in LIKELIHOODS, PRIORS, POSTERIORS, or made ones.
      num_classes: above 0, encoder and decoder see the label (sohn2015).
      transform: `data.Transform`, data units to the likelihood's values; None for none.
    """

    shape: tuple[int, ...]
    latent: int
    likelihood: str | Likelihood = "bernoulli"
    prior: str | PriorFamily = "standard_normal"
    posterior: str | PosteriorFamily = "diagonal"
    num_classes: int = 0
    transform: Any = None
    num_samples: int = 1
    kl: str = "auto"
    beta: float = 1.0
    warm_up: int = 0
    free_bits: float = 0.0
    weight: float = 1.0
    evaluation_samples: int = 64


OPTIONAL = (
    "prior",
    "num_samples",
    "kl",
    "beta",
    "warm_up",
    "free_bits",
    "weight",
    "evaluation_samples",
)
"""Options that some models do not read."""


class Parts(NamedTuple):
    """Networks and laws: what `Options` and two networks come to."""

    encoder: nn.Module
    decoder: nn.Module
    likelihood: Likelihood
    prior: PriorFamily
    posterior: PosteriorFamily
    options: Options


class VAEFunctions(NamedTuple):
    """A VAE at given parameters.

    Fields:
      encode: `inputs [B, E] -> Posterior`.
      decode: `z [N, D] -> raw [N, *shape, P]`.
      prior: p(z).
      likelihood: p(x | raw).
    """

    encode: Callable[[Array], Posterior]
    decode: Callable[[Array], Array]
    prior: Prior
    likelihood: Likelihood


def checked(options: Options) -> Options:
    """Raise ConfigError for values out of range."""
    check_shape("shape", options.shape)
    for name in ("latent", "num_samples", "evaluation_samples"):
        check_range(name, getattr(options, name), 1, integer=True)
    for name in ("num_classes", "warm_up"):
        check_range(name, getattr(options, name), 0, integer=True)
    for name in ("beta", "free_bits", "weight"):
        check_range(name, getattr(options, name), 0)
    check_choice("kl", options.kl, KL_KINDS)
    return options


def refuse_unread(
    options: Options, owner: str, reads: Collection[str], readers: Mapping[str, Collection[str]]
) -> None:
    """Raise ConfigError for options that are not at their defaults and that `owner` does not read.

    Args:
      reads: those of OPTIONAL that it does read.
      readers: other models -> what they read, to name those where the option has a meaning.
    """
    for name in OPTIONAL:
        value = getattr(options, name)
        if name not in reads and value != Options._field_defaults[name]:
            known = ", ".join(model for model, names in readers.items() if name in names)
            shown = repr(value) if isinstance(value, str | int | float) else "..."
            raise ConfigError(f"{name}={shown} is not read by {owner} (it is by: {known})")


def make_parts(encoder: Network, decoder: Network, options: Options) -> Parts:
    """Networks of the sizes that likelihood and posterior ask for."""
    checked(options)
    named = lambda value, make: make(value) if isinstance(value, str) else value
    likelihood = named(options.likelihood, make_likelihood)
    posterior = named(options.posterior, make_posterior)
    return Parts(
        encoder(posterior.size(options.latent)),
        decoder(math.prod(options.shape) * likelihood.size),
        likelihood,
        named(options.prior, make_prior),
        posterior,
        options,
    )


def encode_data(parts: Parts, key: Key[Array, "*batch"], x: Data) -> Array:
    """Data units to the likelihood's values [B, *shape].

    Raises ConfigError or DataError for data that do not fit the shape or the likelihood.
    """
    options = parts.options
    return to_values(options, parts.likelihood, key, x)


def one_hot(parts: Parts, label: Int[Array, "B"] | None, n: int) -> Float[Array, "B C"]:
    """Labels as vectors [B, num_classes]. Raises ConfigError when they are missing."""
    classes = parts.options.num_classes
    if classes and label is None:
        raise ConfigError(f"num_classes={classes}, but the data has no labels")
    return jnp.zeros((n, 0)) if label is None or not classes else conditions.one_hot(label, classes)


def network_inputs(
    parts: Parts, u: Num[Array, "B ..."], label: Int[Array, "B"] | None = None
) -> Float[Array, "B E"]:
    """What the encoder sees of values u: a vector of about unit size, and the label."""
    flat = parts.likelihood.network_input(u).reshape(len(u), -1)
    return jnp.concatenate([flat, one_hot(parts, label, len(u)).astype(flat.dtype)], -1)


def init_params(
    parts: Parts, key: Key[Array, ""], u: Num[Array, "B ..."], label: Int[Array, "B"] | None
) -> dict[str, State]:
    """Fresh parameters."""
    key_encoder, key_decoder, key_prior, key_posterior = jax.random.split(key, 4)
    inputs, dim = network_inputs(parts, u, label), parts.options.latent
    z = jnp.zeros((1, dim + parts.options.num_classes))
    return {
        "encoder": parts.encoder.init(key_encoder, inputs[:1]),
        "decoder": parts.decoder.init(key_decoder, z),
        "prior": parts.prior.init(key_prior, dim, inputs),
        "posterior": parts.posterior.init(key_posterior, dim),
        "shared": jnp.zeros(parts.likelihood.shared),
    }


def coder(
    parts: Parts, params: dict[str, Any], label: Int[Array, "B"] | None = None
) -> VAEFunctions:
    """The functions of a VAE; `label` is that of each example which the decoder serves."""
    shape, likelihood = tuple(parts.options.shape), parts.likelihood

    def encode(inputs):
        raw: Any = parts.encoder.apply(params["encoder"], inputs)
        check_output("encoder", raw, (len(inputs), parts.posterior.size(parts.options.latent)))
        return parts.posterior.make(params["posterior"], raw)

    def decode(z):
        if parts.options.num_classes:
            own = one_hot(parts, label, len(z)).astype(z.dtype)
            z = jnp.concatenate([z, jnp.tile(own, (len(z) // len(own), 1))], -1)
        raw: Any = parts.decoder.apply(params["decoder"], z)
        check_output("decoder", raw, (len(z), math.prod(shape) * likelihood.size))
        raw = raw.reshape(len(z), *shape, likelihood.size)
        shared = params["shared"].astype(raw.dtype)
        shared = jnp.broadcast_to(shared, (*raw.shape[:-1], likelihood.shared))
        return jnp.concatenate([raw, shared], -1)

    prior = parts.prior.make(params["prior"], parts.options.latent, encode)
    return VAEFunctions(encode, decode, prior, likelihood)
