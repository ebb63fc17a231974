"""The evidence lower bound of a VAE from callables (kingma2014 eq. 3; S2, log p = ELBO + KL).

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z))

`encode(x [B, ...]) -> Posterior`, `decode(z [N, D]) -> raw [N, ..., P]` for a `Likelihood`. All
numbers are nats, summed over dimensions, one per example.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp

from gen_jax.checks import check_output
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Key, Num
from gen_jax.vae.gaussians import kl_terms
from gen_jax.vae.likelihoods import Likelihood
from gen_jax.vae.posterior import Draw, Posterior, draw
from gen_jax.vae.priors import Prior, standard_normal

KL_KINDS = ("auto", "closed_form", "monte_carlo")


def log_likelihood(
    decode: Callable[[Array], Array],
    likelihood: Likelihood,
    z: Float[Array, "*K B D"],
    x: Num[Array, "B ..."],
) -> Float[Array, "*K B"]:
    """log p(x | z) of every draw; the decoder sees one batch, in which examples vary fastest."""
    lead = z.shape[:-2]
    raw = decode(z.reshape(-1, z.shape[-1]))
    numbers = likelihood.size + likelihood.shared
    check_output("decode", raw, (math.prod(z.shape[:-1]), *x.shape[1:], numbers))
    raw = raw.reshape(*lead, len(x), *raw.shape[1:])
    each = likelihood.log_prob(raw, x)
    check_output("likelihood.log_prob", each, (*lead, *x.shape), "one number per value, ")
    return each.reshape(*lead, len(x), -1).sum(-1)


def prior_log_prob(prior: Prior, z: Float[Array, "*K B D"]) -> Float[Array, "*K B"]:
    """log p(z) of every draw."""
    return prior.log_prob(z.reshape(-1, z.shape[-1])).reshape(z.shape[:-1])


def average(sampled: Draw, values: Float[Array, "K S B"]) -> Float[Array, "B"]:
    """E_q of values at draws: strata by their shares, draws equally."""
    return jnp.sum(jnp.exp(sampled.log_share) * values, 1).mean(0)


def divergence(
    posterior: Posterior, prior: Prior, sampled: Draw, kind: str = "auto"
) -> Float[Array, "B G"]:
    """KL(q || p) in groups: one per dimension in closed form, one in all by Monte Carlo.

    Args:
      kind: one of KL_KINDS; "auto" is the closed form where both are diagonal Gaussians.
    Raises ConfigError for a closed form that does not exist.
    """
    check_choice("kl", kind, KL_KINDS)
    if kind != "monte_carlo" and posterior.moments is not None and prior.moments is not None:
        return kl_terms(*posterior.moments, *prior.moments)
    if kind == "closed_form":
        raise ConfigError("kl='closed_form' needs a diagonal Gaussian posterior and prior")
    return average(sampled, sampled.log_q - prior_log_prob(prior, sampled.z))[:, None]


def with_free_bits(
    kl: Float[Array, "B G"], free_bits: float | Float[Array, "..."]
) -> Float[Array, "B G"]:
    """KL that costs at least `free_bits` nats per group, [] or [G] (kingma2016 eq. 15).

    The batch's mean decides for each group: below the floor the group costs the floor and passes no
    gradient. Where the floor is 0 nothing is changed: an estimate of the KL may be negative, and a
    floor of 0 under it would be a bias that depends on the batch. NaN stays NaN.
    """
    floor = jnp.asarray(free_bits, kl.dtype)
    return jnp.where((floor == 0) | ~(kl.mean(0) <= floor), kl, floor)


def elbo(
    key: Key[Array, "*batch"],
    encode: Callable[[Array], Posterior],
    decode: Callable[[Array], Array],
    x: Num[Array, "B ..."],
    *,
    likelihood: Likelihood,
    prior: Prior | None = None,
    num_samples: int = 1,
    kl: str = "auto",
    beta: float | Float[Array, ""] = 1.0,
    free_bits: float | Float[Array, ""] = 0.0,
    encoder_input: Array | None = None,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """E_q[log p(x | z)] - beta KL per example in nats, to be maximised: (bound [B], aux).

    Args:
      key: one key, or one per example [B].
      prior: standard normal if not given.
      num_samples: draws of z per example.
      kl: one of KL_KINDS.
      beta: weight of the KL (higgins2017); a number, or `warm_up` of the step.
      free_bits: nats per latent dimension that cost nothing more; with a KL by Monte Carlo, whose
        only group is the whole latent, that many times the dimensions.
      encoder_input: what `encode` is given, x if not given.
    Returns aux: "elbo" (the bound at beta 1 without free bits), "log_likelihood", "kl" [B], and
    "kl_groups" [B, G]. Without free bits no example's bound depends on the others.
    """
    check_range("num_samples", num_samples, 1, integer=True)
    posterior = encode(x if encoder_input is None else encoder_input)
    sampled = draw(posterior, sample_keys(key, len(x)), num_samples)
    dim = sampled.z.shape[-1]
    prior = standard_normal(dim) if prior is None else prior
    reconstruction = average(sampled, log_likelihood(decode, likelihood, sampled.z, x))
    groups = divergence(posterior, prior, sampled, kl)
    floored = with_free_bits(groups, free_bits * (dim // groups.shape[1])).sum(-1)
    total = groups.sum(-1)
    aux = {
        "elbo": reconstruction - total,
        "log_likelihood": reconstruction,
        "kl": total,
        "kl_groups": groups,
    }
    return reconstruction - beta * floored, aux


def warm_up(
    step: Num[Array, ""] | int, steps: int, start: float = 0.0, end: float = 1.0
) -> Float[Array, ""]:
    """beta rising linearly from `start` to `end` over the first `steps` steps (bowman2016)."""
    check_range("steps", steps, 0, integer=True)
    share = jnp.clip(jnp.asarray(step, jnp.float32) / max(steps, 1), 0, 1) if steps else 1.0
    return jnp.asarray(start + (end - start) * share, jnp.float32)
