"""What a VAE is made of: its options, their checks, networks, laws, and its functions."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax import conditions
from gen_jax.checks import check_output, no_type_check
from gen_jax.conditions import Condition
from gen_jax.errors import ConfigError, check_choice, check_shape
from gen_jax.ranges import Count, Natural, Weight, check_ranges
from gen_jax.types import Array, Float, Int, Key, Num, State
from gen_jax.vae.coder import VAEFunctions
from gen_jax.vae.elbo import KL_KINDS
from gen_jax.vae.likelihoods import Likelihood, make_likelihood
from gen_jax.vae.posterior import PosteriorFamily
from gen_jax.vae.posteriors import make_posterior
from gen_jax.vae.priors import Prior, PriorFamily, fixed, make_prior

Network = Callable[[int], Any]
"""Number of outputs -> network `[B, E] -> [B, outputs]`: a Flax module, or `nets.from_functions`,
`nets.from_nnx`."""


class Options(NamedTuple):
    """How a VAE is made; see `vae` for those of training.

    Fields:
      shape: of one example after the transform.
      latent: dimension of z.
      likelihood, prior, posterior: names in LIKELIHOODS, PRIORS, POSTERIORS, or made ones; the
        prior also a `Prior`, such as `model_prior`, that is not trained. Scales that a likelihood
        learns are at least e^-7 = 0.0009 in the units after the transform.
      condition: None, or `conditions.labels(K)`: encoder and decoder see the label (sohn2015).
      transform: `data.Transform`, data units to the likelihood's values; None for none.
    """

    shape: tuple[int, ...]
    latent: Count
    likelihood: str | Likelihood = "bernoulli"
    prior: str | PriorFamily | Prior = "standard_normal"
    posterior: str | PosteriorFamily = "diagonal"
    condition: Condition | None = None
    transform: Any = None
    num_samples: Count = 1
    kl: str = "auto"
    beta: Weight = 1.0
    warm_up: Natural = 0
    free_bits: Weight = 0.0
    weight: Weight = 1.0
    evaluation_samples: Count = 64


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
    """Networks, laws and optimizers: what `vae` and `semi_supervised` are made of.

    Fields:
      objective: of VARIANTS; None for a semi-supervised model.
      critic_optimizer: of the variants with a critic, or None.
      classifier: of a semi-supervised model, or None.
    """

    encoder: Any
    decoder: Any
    likelihood: Likelihood
    prior: PriorFamily
    posterior: PosteriorFamily
    optimizer: optax.GradientTransformation
    options: Options
    objective: Any = None
    critic_optimizer: optax.GradientTransformation | None = None
    classifier: Any = None

    @property
    def num_classes(self) -> int:
        """Of the condition; 0 without one."""
        return conditions.num_classes(self.options.condition)


def checked(options: Options) -> Options:
    """Raise ConfigError for values out of range."""
    check_shape("shape", options.shape)
    check_ranges(options)
    conditions.num_classes(conditions.checked_condition(options.condition))
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


def check_factory(argument: str, network: Any) -> Any:
    """Return a `Network`; raise ConfigError for a module, whose number of outputs is fixed."""
    if not isinstance(network, type) and (hasattr(network, "apply") or not callable(network)):
        name = type(network).__name__
        raise ConfigError(
            f"{argument}=a {name} must be a function of the number of outputs, such as "
            f"vae.mlp() or lambda outputs: {name}(...)"
        )
    return network


@no_type_check
def networks_and_laws(
    encoder: Network, decoder: Network, optimizer: optax.GradientTransformation, options: Options
) -> Parts:
    """Networks of the sizes that likelihood and posterior ask for. Raises ConfigError."""
    checked(options)
    named = lambda value, make: make(value) if isinstance(value, str) else value
    likelihood = named(options.likelihood, make_likelihood)
    posterior = named(options.posterior, make_posterior)
    prior = named(options.prior, make_prior)
    for name, network in {"encoder": encoder, "decoder": decoder}.items():
        check_factory(name, network)
    parts = Parts(
        encoder(posterior.size(options.latent)),
        decoder(math.prod(options.shape) * likelihood.size),
        likelihood,
        fixed(prior) if isinstance(prior, Prior) else prior,
        posterior,
        optimizer,
        options,
    )
    for name, network in {"encoder": parts.encoder, "decoder": parts.decoder}.items():
        if options.condition is not None and not getattr(network, "takes_condition", True):
            raise ConfigError(
                f"condition={options.condition.name!r}, but the {name} takes no condition: use "
                "vae.mlp"
            )
    return parts


def condition_vectors(parts: Parts, label: Int[Array, "L"] | None, n: int) -> Float[Array, "n C"]:
    """Labels as vectors [n, num_classes], in turn where there are fewer of them than n.

    Raises ConfigError when they are missing, or when n is no multiple of their number.
    """
    if not parts.num_classes:
        return jnp.zeros((n, 0))
    assert parts.options.condition is not None
    name = parts.options.condition.name
    if label is None:
        raise ConfigError(f"{name} is needed: the networks were trained with it")
    if n % len(label):
        raise ConfigError(f"{name} has {len(label)} rows, allowed: 1 or as many as examples, {n}")
    return jnp.tile(conditions.one_hot(label, parts.num_classes), (n // len(label), 1))


def network_inputs(
    parts: Parts, u: Num[Array, "B ..."], label: Int[Array, "L"] | None = None
) -> Float[Array, "B E"]:
    """What the encoder sees of values u: a vector of about unit size, and the label."""
    flat = parts.likelihood.network_input(u).reshape(len(u), -1)
    own = condition_vectors(parts, label, len(u)).astype(flat.dtype)
    return jnp.concatenate([flat, own], -1)


def init_params(
    parts: Parts, key: Key[Array, ""], u: Num[Array, "B ..."], label: Int[Array, "B"] | None
) -> dict[str, State]:
    """Fresh parameters."""
    key_encoder, key_decoder, key_prior, key_posterior = jax.random.split(key, 4)
    inputs, dim = network_inputs(parts, u, label), parts.options.latent
    z = jnp.zeros((1, dim + parts.num_classes))
    return {
        "encoder": parts.encoder.init(key_encoder, inputs[:1]),
        "decoder": parts.decoder.init(key_decoder, z),
        "prior": parts.prior.init(key_prior, dim, inputs),
        "posterior": parts.posterior.init(key_posterior, dim),
        "shared": jnp.zeros(parts.likelihood.shared),
    }


def make_functions(
    parts: Parts, params: dict[str, Any], label: Int[Array, "B"] | None = None
) -> VAEFunctions:
    """The functions of a VAE; `label` is that of each example, [B] or one for all, [1]."""
    shape, likelihood = tuple(parts.options.shape), parts.likelihood

    def encode(inputs):
        raw: Any = parts.encoder.apply(params["encoder"], inputs)
        check_output("encoder", raw, (len(inputs), parts.posterior.size(parts.options.latent)))
        return parts.posterior.make(params["posterior"], raw)

    def decode(z):
        if parts.num_classes:
            own = condition_vectors(parts, label, len(z)).astype(z.dtype)
            z = jnp.concatenate([z, own], -1)
        raw: Any = parts.decoder.apply(params["decoder"], z)
        check_output("decoder", raw, (len(z), math.prod(shape) * likelihood.size))
        raw = raw.reshape(len(z), *shape, likelihood.size)
        shared = params["shared"].astype(raw.dtype)
        shared = jnp.broadcast_to(shared, (*raw.shape[:-1], likelihood.shared))
        return jnp.concatenate([raw, shared], -1)

    prior = parts.prior.make(params["prior"], parts.options.latent, encode)
    inputs = lambda u: network_inputs(parts, u, label)
    return VAEFunctions(encode, decode, likelihood, prior, inputs)
