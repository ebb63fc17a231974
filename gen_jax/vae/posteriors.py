"""Families of approximate posteriors: from the numbers of an encoder to q(z | x)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.errors import check_choice, check_range
from gen_jax.randomness import fold_in
from gen_jax.vae.gaussians import log_mixture
from gen_jax.vae.iaf import inverse_autoregressive
from gen_jax.vae.posterior import Draw, Posterior, PosteriorFamily, diagonal_gaussian, gaussian_draw


def diagonal() -> PosteriorFamily:
    """Mean and log standard deviation of each dimension."""
    make = lambda params, raw: diagonal_gaussian(*jnp.split(raw, 2, axis=-1))
    return PosteriorFamily(lambda dim: 2 * dim, lambda key, dim: (), make)


def mixture(components: int = 3) -> PosteriorFamily:
    """A mixture of diagonal Gaussians with weights that depend on x."""
    check_range("components", components, 1, integer=True)

    def init(key, dim):
        # Components that start equal would stay equal.
        return 0.5 * jax.random.normal(key, (components, dim))

    def make(params, raw):
        logits, rest = raw[:, :components], raw[:, components:]
        means, log_stds = jnp.split(rest.reshape(len(raw), components, -1), 2, axis=-1)
        return Posterior(
            (jax.nn.log_softmax(logits), means + params, log_stds), _strata, _log_strata
        )

    return PosteriorFamily(lambda dim: components * (2 * dim + 1), init, make)


def _log_strata(params, z):
    return log_mixture(z, *params)


def _strata(params, keys):
    log_weights, means, log_stds = params
    one = lambda i: gaussian_draw((means[:, i], log_stds[:, i]), fold_in(keys, i))[0]
    z = jax.vmap(one)(jnp.arange(means.shape[1]))
    return Draw(z, log_mixture(z, *params), log_weights.T)


POSTERIORS: dict[str, Callable[..., PosteriorFamily]] = {
    "diagonal": diagonal,
    "mixture": mixture,
    "iaf": inverse_autoregressive,
}
"""Every family of posteriors by name."""


def make_posterior(name: str, **options) -> PosteriorFamily:
    """A family of POSTERIORS. Raises ConfigError for unknown names and values out of range."""
    return POSTERIORS[check_choice("posterior", name, POSTERIORS)](**options)
