"""What a trained VAE does with its latents: collapse, information, holes, codes in use.

The aggregate posterior q(z) is the average of q(z | x_j) over a set of N examples. Averages over x
are sums over that set, so that I(x; z) is at most log N.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from gen_jax.batching import check_rows
from gen_jax.errors import check_range
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Int, Key
from gen_jax.vae.elbo import average, prior_log_prob
from gen_jax.vae.posterior import Posterior, draw
from gen_jax.vae.priors import Prior


def active_units(
    means: Float[Array, "N D"], threshold: float = 0.01
) -> tuple[Int[Array, ""], Float[Array, "D"]]:
    """How many dimensions' posterior means vary over the data, and their variances (burda2016).

    A dimension counts when Var_x E[z | x] > `threshold`; collapsed ones stay at the prior.
    Raises ConfigError for no data.
    """
    check_range("threshold", threshold, 0)
    check_rows("means", means)
    variance = jnp.var(means, 0)
    return jnp.sum(variance > threshold), variance


def aggregate_log_prob(
    posterior: Posterior,
    z: Float[Array, "M D"],
    num_examples: int,
    without: Int[Array, "M"] | None = None,
) -> Float[Array, "M"]:
    """log q(z) = log (1/N) sum_j q(z | x_j) in nats, one z at a time.

    Args:
      without: for each z the example left out of the sum: the one z was drawn from.
    """

    def one(row):
        point, own = row
        everywhere = jnp.broadcast_to(point, (num_examples, *point.shape))
        terms = posterior.log_prob(posterior.params, everywhere)
        return logsumexp(jnp.where(jnp.arange(num_examples) == own, -jnp.inf, terms))

    own = jnp.full(len(z), -1) if without is None else without
    count = num_examples - (without is not None)
    return jax.lax.map(one, (z, own)) - jnp.log(count)


class Information(NamedTuple):
    """The parts of the mean KL in nats: kl = mutual_information + gap (hoffman2016).

    Fields:
      kl: mean over x of KL(q(z | x) || p(z)).
      mutual_information: I(x; z) under q, between 0 and log N.
      gap: KL(q(z) || p(z)) of the aggregate posterior.
    """

    kl: Float[Array, ""]
    mutual_information: Float[Array, ""]
    gap: Float[Array, ""]


def information(
    key: Key[Array, "*batch"], posterior: Posterior, prior: Prior, num_examples: int
) -> Information:
    """The decomposition from one draw per example of the set that `posterior` was made of."""
    sampled = draw(posterior, sample_keys(key, num_examples), 1)
    strata = sampled.z.shape[1]
    flat = sampled.z.reshape(-1, sampled.z.shape[-1])
    log_aggregate = aggregate_log_prob(posterior, flat, num_examples)
    log_aggregate = log_aggregate.reshape(1, strata, num_examples)
    mean = lambda values: average(sampled, values).mean()
    kl = mean(sampled.log_q - prior_log_prob(prior, sampled.z))
    shared = mean(sampled.log_q - log_aggregate)
    return Information(kl, shared, kl - shared)


def hole_score(
    key: Key[Array, ""],
    posterior: Posterior,
    prior: Prior,
    num_examples: int,
    num_samples: int = 1000,
    level: float = 0.01,
) -> Float[Array, ""]:
    """Share of the prior's draws that fall into holes of the aggregate posterior (rezende2018).

    A hole is where q(z) is below its own `level` quantile over draws of q(z): the score is about
    `level` when q(z) = p(z), and 1 when the decoder was never trained where samples come from.
    Draws of q(z) are judged by the other examples; few of them in many dimensions judge roughly.
    """
    check_range("num_examples", num_examples, 2, integer=True)
    check_range("level", level, 0, 1, open_low=True)
    key_own, key_prior, key_pick = jax.random.split(key, 3)
    rows = jax.random.randint(key_pick, (num_samples,), 0, num_examples)
    sampled = draw(posterior, sample_keys(key_own, num_examples), 1)
    strata = jax.random.categorical(fold_in(key_pick[None], 1)[0], sampled.log_share[0, :, rows])
    inside = aggregate_log_prob(posterior, sampled.z[0, strata, rows], num_examples, rows)
    drawn = prior.sample(sample_keys(key_prior, num_samples))
    outside = aggregate_log_prob(posterior, drawn, num_examples)
    return jnp.mean(outside < jnp.quantile(inside, level))


class CodebookUse(NamedTuple):
    """How codes are used: counts [K], exp(entropy) from 1 to K, share of codes never used."""

    counts: Int[Array, "K"]
    perplexity: Float[Array, ""]
    dead: Float[Array, ""]


def codebook_use(codes: Int[Array, "..."], size: int) -> CodebookUse:
    """Counts of the codes 0 .. size - 1 over any number of examples and positions."""
    counts = jnp.bincount(codes.reshape(-1), length=size)
    return CodebookUse(counts, perplexity(counts), jnp.mean(counts == 0))


def perplexity(counts: Float[Array, "K"] | Int[Array, "K"]) -> Float[Array, ""]:
    """exp of the entropy of counts: the number of equally used codes that would be as many."""
    p = counts / jnp.maximum(counts.sum(), 1)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p, p)))
