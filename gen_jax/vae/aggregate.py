"""The aggregate posterior of a trained VAE as a density to sample: the energy of its latents."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from gen_jax.errors import ConfigError
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.sampling.targets import Target
from gen_jax.vae.posterior import Posterior


def aggregate_target(posterior: Posterior) -> Target:
    """q(z) = (1/N) sum_j q(z | x_j), normalised, with exact samples (makhzani2015, section 2).

    `posterior` is what a trained encoder makes of N examples, each a diagonal Gaussian. The density
    costs a product of matrices [B, 2 D] and [2 D, N]: with the squares expanded, one in float32 is
    off by about 1e-7 of ((|z - c| + |mean - c|) / std)^2, c the centre of the means.
    Raises ConfigError for posteriors that are not diagonal Gaussians.
    """
    if posterior.moments is None:
        raise ConfigError("posterior has no moments; the aggregate target needs diagonal Gaussians")
    means, log_stds = (np.asarray(part, np.float64) for part in posterior.moments)
    count, dim = means.shape
    centre = means.mean(0)
    precisions, shifts = np.exp(-2 * log_stds), means - centre
    coefficients = np.concatenate([-precisions / 2, shifts * precisions], 1).T
    constants = -np.sum(shifts**2 * precisions / 2 + log_stds, 1)

    def log_density(z):
        z = z - centre.astype(z.dtype)
        powers = jnp.concatenate([z**2, z], 1)
        terms = jnp.matmul(powers, coefficients.astype(z.dtype), precision="highest")
        total = logsumexp(terms + constants.astype(z.dtype), axis=1)
        return total - np.log(count) - dim / 2 * LOG_2_PI

    def sample(key, n):
        key_component, key_noise = jax.random.split(key)
        j = jax.random.randint(key_component, (n,), 0, count)
        noise = jax.random.normal(key_noise, (n, dim))
        return jnp.asarray(means)[j] + jnp.asarray(np.exp(log_stds))[j] * noise

    return Target(log_density, dim, sample, 0.0)
