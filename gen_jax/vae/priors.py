"""Priors p(z) of the latents: fixed or learned, each with its density and its draws."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from gen_jax.checks import as_floats, check_output, is_known, no_type_check
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.flows import affine, chain, coupling
from gen_jax.model import GenerativeModel
from gen_jax.randomness import fold_in, normal
from gen_jax.types import Array, State
from gen_jax.vae.gaussians import log_mixture, log_normal
from gen_jax.vae.posterior import Posterior, choose_stratum

Encode = Callable[[Array], Posterior]


class Prior(NamedTuple):
    """p(z).

    Fields:
      log_prob: `z [N, D] -> [N]` nats.
      sample: `keys [n] -> z [n, D]`.
      moments: (mean, log_std) of a diagonal Gaussian, or None.
    """

    log_prob: Callable[[Array], Array]
    sample: Callable[[Array], Array]
    moments: tuple[Array, Array] | None = None


class PriorFamily(NamedTuple):
    """What makes priors of latents of a dimension.

    Fields:
      init: `(key, dim, inputs [B, E]) -> params`; `inputs` is what the encoder sees of a batch.
      make: `(params, dim, encode) -> Prior`; `encode` maps inputs to a `Posterior`.
    """

    init: Callable[[Array, int, Array], State]
    make: Callable[[State, int, Encode], Prior]


def standard_normal(dim: int) -> Prior:
    """N(0, I)."""
    zeros = jnp.zeros(dim)
    log_prob = lambda z: log_normal(z, jnp.zeros((), z.dtype), jnp.zeros((), z.dtype)).sum(-1)
    return Prior(log_prob, lambda keys: normal(keys, (dim,)), (zeros, zeros))


def gaussian_mixture(components: int = 10) -> PriorFamily:
    """A learned mixture of diagonal Gaussians (dilokthanakul2016), spread out at first."""
    check_range("components", components, 1, integer=True)

    def init(key, dim, inputs):
        means = jax.random.normal(key, (components, dim))
        return jnp.zeros(components), means, jnp.zeros((components, dim))

    def make(params, dim, encode):
        logits, means, log_stds = params
        log_weights = jax.nn.log_softmax(logits)

        def one(key):
            key_component, key_noise = jax.random.split(key)
            k = jax.random.categorical(key_component, log_weights)
            return means[k] + jnp.exp(log_stds[k]) * jax.random.normal(key_noise, (dim,))

        return Prior(lambda z: log_mixture(z, log_weights, means, log_stds), jax.vmap(one))

    return PriorFamily(init, make)


def vamp(components: int = 50, bounds: tuple[float, float] | None = (-1.0, 1.0)) -> PriorFamily:
    """VampPrior: the mixture of the posteriors of learned pseudo-inputs (tomczak2018).

    They start as examples of the first batch and stay within `bounds`, the range of what the
    encoder sees; None for data without a range.
    """
    check_range("components", components, 1, integer=True)

    def init(key, dim, inputs):
        chosen = inputs[jax.random.randint(key, (components,), 0, len(inputs))]
        if bounds is None:
            return chosen
        share = (chosen - bounds[0]) / (bounds[1] - bounds[0])
        return jax.scipy.special.logit(0.05 + 0.9 * jnp.clip(share, 0, 1))

    def make(params, dim, encode):
        if bounds is not None:
            params = bounds[0] + (bounds[1] - bounds[0]) * jax.nn.sigmoid(params)
        posterior = encode(params)

        def log_prob(z):
            at_all = lambda one: posterior.log_prob(
                posterior.params, jnp.broadcast_to(one, (components, *one.shape))
            )
            return logsumexp(jax.vmap(at_all)(z), -1) - jnp.log(components)

        def sample(keys):
            pick = lambda key: jax.random.randint(key, (), 0, components)
            own = encode(params[jax.vmap(pick)(fold_in(keys, 0))])
            return choose_stratum(fold_in(keys, 2), own.draw(own.params, fold_in(keys, 1)))

        return Prior(log_prob, sample)

    return PriorFamily(init, make)


def flow(layers: int = 4, hidden: tuple[int, ...] = (64, 64)) -> PriorFamily:
    """Affine coupling layers on N(0, I) (chen2017): density and draws cost one pass each."""
    check_range("layers", layers, 1, integer=True)
    masks = ("even", "odd")
    layer = chain(*[coupling(affine(), masks[i % 2], hidden) for i in range(layers)])

    def make(params, dim, encode):
        bijector, base = layer.bijector(params), standard_normal(dim)

        def log_prob(z):
            start, log_det = bijector.inverse(z)
            return base.log_prob(start) + log_det

        return Prior(log_prob, lambda keys: bijector.forward(base.sample(keys))[0])

    return PriorFamily(lambda key, dim, inputs: layer.init(key, dim), make)


def fixed(prior: Prior | None = None) -> PriorFamily:
    """A prior without parameters as a family; `standard_normal` if not given."""
    make = lambda params, dim, encode: standard_normal(dim) if prior is None else prior
    return PriorFamily(lambda key, dim, inputs: (), make)


@no_type_check
def model_prior(
    model: GenerativeModel,
    state: State,
    mean: float | Array | np.ndarray = 0.0,
    std: float | Array | np.ndarray = 1.0,
) -> Prior:
    """A trained model of latents as a prior: z = mean + std v, v [N, D] the model's data.

        log p(z) = log p_model((z - mean) / std) - sum log std

    A bound of the whole VAE with it is exact up to the model's own `log_prob`: random numbers that
    one needs are the same at each call. As an option of `vae` it is not trained; for a model whose
    arrays should travel in the state see `frozen.given`.

    Args:
      mean, std: [D] or numbers, such as the moments of the latents that the model was trained on.
    Raises ConfigError for a model without log_prob or samples, for moments of another shape, and
    unless std > 0; DataError for moments that are not finite.
    """
    if model.log_prob is None or model.sample is None:
        raise ConfigError("model must have both log_prob and sample to be a prior")
    mean, std = (as_floats(name, x, finite=True) for name, x in (("mean", mean), ("std", std)))
    check_range("std", float(np.asarray(std).min()) if is_known(std) else 1.0, 0, open_low=True)
    density, draw = model.log_prob, model.sample

    def log_prob(z):
        for name, moment in (("mean", mean), ("std", std)):
            if moment.shape not in ((), z.shape[1:]):
                raise ConfigError(f"{name} has shape {moment.shape}, must be () or {z.shape[1:]}")
        scale = jnp.broadcast_to(jnp.asarray(std, z.dtype), z.shape[1:])
        v = (z - jnp.asarray(mean, z.dtype)) / scale
        found = density(jax.random.key(0), state, v)
        check_output("log_prob of the prior", found, (len(v),), "one number per point, ")
        return found - jnp.log(scale).sum()

    def sample(keys):
        v = draw(keys, state, len(keys))
        return jnp.asarray(mean, v.dtype) + jnp.asarray(std, v.dtype) * v

    return Prior(log_prob, sample)


PRIORS: dict[str, Callable[..., PriorFamily]] = {
    "standard_normal": fixed,
    "gaussian_mixture": gaussian_mixture,
    "vamp": vamp,
    "flow": flow,
}
"""Every family of priors by name."""


def make_prior(name: str, **options) -> PriorFamily:
    """A family of PRIORS. Raises ConfigError for unknown names and values out of range."""
    return PRIORS[check_choice("prior", name, PRIORS)](**options)
