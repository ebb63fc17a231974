"""Estimates of log p(x) of a VAE with standard errors, in constant memory.

Naive Monte Carlo draws z from the prior, importance sampling from the posterior (burda2016: the
bound L_K), annealed importance sampling walks from the posterior, or the prior, to p(z | x)
(wu2017). Each estimate is below log p(x) in the mean, and converges to it.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from gen_jax.checks import as_array, as_key, no_type_check
from gen_jax.compiled import by_trace
from gen_jax.errors import check_choice, check_range
from gen_jax.mcmc import annealed_importance, hmc
from gen_jax.mcmc.checks import check_step_size
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Estimate, Float, Key, Num
from gen_jax.vae.coder import VAEFunctions
from gen_jax.vae.iwae import log_joint, log_weights
from gen_jax.vae.posterior import choose_stratum, draw, single
from gen_jax.vae.priors import Prior

PROPOSALS = ("posterior", "prior")


def _error(log_sum: Array, log_square: Array, count: int) -> Array:
    """Standard error of log mean w by the delta method, from log sum w and log sum w^2.

    NaN of a single draw, which says nothing of it.
    """
    if count == 1:
        return jnp.full_like(log_sum, jnp.nan)
    relative = count * jnp.exp(log_square - 2 * log_sum) - 1
    return jnp.sqrt(jnp.maximum(relative, 0) / (count - 1))


def streaming_log_mean(
    log_terms: Callable[[Array], Float[Array, "C B"]], num_samples: int, chunk: int, like: Array
) -> Estimate:
    """log of the mean of exp(log_terms) over `num_samples` draws and its standard error, each [B].

    `log_terms(i)` gives chunk i [chunk, B]; only one is in memory at a time. What is beyond
    num_samples in the last one does not count.
    """

    def body(carry, index):
        log_sum, log_square = carry
        asked = chunk * index + jnp.arange(chunk) < num_samples
        terms = jnp.where(asked[:, None], log_terms(index), -jnp.inf)
        log_sum = jnp.logaddexp(log_sum, logsumexp(terms, 0))
        return (log_sum, jnp.logaddexp(log_square, logsumexp(2 * terms, 0))), None

    start, chunks = jnp.full_like(like, -jnp.inf), -(-num_samples // chunk)
    (log_sum, log_square), _ = jax.lax.scan(body, (start, start), jnp.arange(chunks))
    value = log_sum - jnp.log(num_samples)
    return Estimate(value, _error(log_sum, log_square, num_samples))


@no_type_check
def estimate_log_prob(
    key: Key[Array, "*batch"],
    functions: VAEFunctions,
    x: Num[Array, "B ..."],
    *,
    proposal: str = "posterior",
    num_samples: int = 500,
    chunk: int = 50,
) -> Estimate:
    """log p(x) [B] in nats with its standard error [B], from `num_samples` draws per example.

    Args:
      proposal: "posterior" (importance weighted, IWAE-k) or "prior" (naive Monte Carlo).
      chunk: draws in memory at a time.
    The error is the delta method's, NaN of one draw, and misleads when few draws carry the sum.
    The functions are traced at each call, with what they read from outside at that time, and
    compiled again where they have changed; for many parameters `jax.jit` one function with these
    as arguments, as a model's `log_prob` does.
    """
    check_choice("proposal", proposal, PROPOSALS)
    check_range("num_samples", num_samples, 1, integer=True)
    check_range("chunk", chunk, 1, integer=True)
    run = partial(_estimate, functions, proposal, num_samples, min(chunk, num_samples))
    return by_trace(jax.jit(run))(key, jnp.asarray(as_array("x", x)))


def _estimate(functions: VAEFunctions, proposal, num_samples, chunk, key, x) -> Estimate:
    keys, posterior = sample_keys(key, len(x)), functions.posterior(x)
    shape = jax.eval_shape(posterior.draw, posterior.params, keys).z
    prior = functions.prior_of(shape.shape[-1])

    def log_terms(index):
        own = fold_in(keys, index)
        if proposal == "posterior":
            sampled = draw(posterior, own, chunk)
        else:
            sampled = jax.vmap(lambda i: _from_prior(prior, fold_in(own, i)))(jnp.arange(chunk))
        return logsumexp(log_weights(functions, sampled, x), 1)

    like = jnp.zeros(len(x), shape.dtype)
    return streaming_log_mean(log_terms, num_samples, chunk, like)


def _from_prior(prior: Prior, keys: Array):
    z = prior.sample(keys)
    return single(z, prior.log_prob(z))


@no_type_check
def annealed_log_prob(
    key: Key[Array, ""],
    functions: VAEFunctions,
    x: Num[Array, "B ..."],
    *,
    proposal: str = "posterior",
    chains: int = 16,
    levels: int = 50,
    step_size: float = 0.1,
    leapfrog_steps: int = 5,
) -> Estimate:
    """log p(x) [B] in nats with its standard error [B] by annealed importance sampling (wu2017).

    Each example has `chains` Hamiltonian chains, which walk over `levels` steps from the proposal
    to p(x, z). The functions are traced at each call, as by `estimate_log_prob`.
    """
    check_choice("proposal", proposal, PROPOSALS)
    check_range("chains", chains, 2, integer=True)
    check_range("levels", levels, 1, integer=True)
    check_step_size(step_size)
    key = as_key("key", key)
    run = partial(_annealed, functions, proposal, chains, levels, leapfrog_steps)
    return by_trace(jax.jit(run))(key, jnp.asarray(as_array("x", x)), step_size)


def _annealed(
    functions: VAEFunctions, proposal, chains, levels, leapfrog_steps, key, x, step_size
) -> Estimate:
    key_start, key_walk, key_stratum = jax.random.split(key, 3)
    keys, b = sample_keys(key_start, len(x)), len(x)
    posterior = functions.posterior(x)
    dim = jax.eval_shape(posterior.draw, posterior.params, keys).z.shape[-1]
    prior = functions.prior_of(dim)
    over_chains = lambda z: z.reshape(chains, b, -1)
    target = lambda z: log_joint(functions, over_chains(z), x).reshape(-1)
    if proposal == "prior":
        z = jax.vmap(lambda i: prior.sample(fold_in(keys, i)))(jnp.arange(chains))
        start = prior.log_prob
    else:
        # A chain starts at one draw of q itself: a stratum alone would not have q's density.
        own = jax.vmap(jax.random.split, (0, None))(sample_keys(key_stratum, b), chains)
        z = jax.vmap(choose_stratum)(own.T, draw(posterior, keys, chains))
        each = jax.vmap(lambda z: posterior.log_prob(posterior.params, z))
        start = lambda z: each(over_chains(z)).reshape(-1)
    walked = annealed_importance(
        key_walk,
        start,
        target,
        z.reshape(-1, dim),
        np.linspace(0, 1, levels + 1),
        lambda f: hmc(f, step_size, leapfrog_steps),
    )
    terms = walked.log_weights.reshape(chains, b)
    log_sum, log_square = logsumexp(terms, 0), logsumexp(2 * terms, 0)
    return Estimate(log_sum - jnp.log(chains), _error(log_sum, log_square, chains))
