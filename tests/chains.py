"""What the tests of Markov chains share: targets whose samples become Gaussian scores, the law.

A kernel keeps a density if and only if chains that start at exact draws are still exactly
distributed after some steps; the end states of independent chains need no autocorrelation.
"""

from collections.abc import Callable
from typing import NamedTuple

import exact
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from gen_jax import mcmc
from gen_jax.randomness import sample_keys

CHAINS, STEPS = 60_000, 10
FALSE_ALARM = 5e-7
"""Of one test. 60,000 draws then catch a variance off by 5 % with probability > 0.999."""


class Law(NamedTuple):
    """A density, its exact sampler `(key, n)` and the map of its samples to N(0, 1)."""

    log_density: Callable
    sample: Callable
    scores: Callable


def mixture_law():
    """Two unequal modes on the line; scores by its distribution function."""
    mixture = exact.mixture_1d()
    cdf = lambda x: exact.mixture_cdf_1d(mixture, 1.0, 0.0, x[:, 0])

    def log_density(x):
        std = jnp.sqrt(mixture.covariances[:, 0, 0])
        parts = norm.logpdf(x, mixture.means[:, 0], std)
        return jax.nn.logsumexp(parts, axis=1, b=mixture.weights)

    sample = lambda key, n: exact.mixture_sample(key, mixture, n)
    return Law(log_density, sample, lambda x: norm.ppf(jnp.clip(cdf(x), 1e-7, 1 - 1e-7)))


def bent_law(variance=1.0):
    """x_1 ~ N(0, 1), x_2 = z - x_1^2 / 2: the scores are x_1 and z; `variance` times both."""
    straight = lambda x: jnp.stack([x[:, 0], x[:, 1] + 0.5 * x[:, 0] ** 2], 1)
    log_density = lambda x: -0.5 * jnp.sum(straight(x) ** 2, 1) / variance

    def sample(key, n):
        z = jax.random.normal(key, (n, 2))
        return jnp.stack([z[:, 0], z[:, 1] - 0.5 * z[:, 0] ** 2], 1)

    return Law(log_density, sample, straight)


def ends(key, kernel, x, steps=STEPS, reuse=False):
    """Positions after some steps; `reuse` gives every step the same key, a planted bug."""
    if not reuse:
        return mcmc.advance(key, kernel, kernel.init(x), steps)[0].x
    keys = sample_keys(key, len(jax.tree.leaves(x)[0]))
    body = lambda i, state: kernel.step(keys, state)[0]
    return jax.lax.fori_loop(0, steps, body, kernel.init(x)).x


def exact_start(key, kernel, law, chains=CHAINS, **options):
    """p-value of the kernel keeping the law, from exact starts."""
    key_start, key_chain = jax.random.split(key)

    @jax.jit
    def scores(key_start, key_chain):
        return law.scores(ends(key_chain, kernel, law.sample(key_start, chains), **options))

    return exact.standard_normal_p_value(np.asarray(scores(key_start, key_chain)))
