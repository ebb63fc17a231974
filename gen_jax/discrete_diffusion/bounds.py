"""Bounds on -log p(x0) in nats: by steps (austin2021, eq. 1), and in continuous time.

Per step the cost is KL(q(x_s | x_t, x0) || p(x_s | x_t)). In the limit of small steps it becomes a
rate (campbell2022; for absorbing noise -a' / (1 - a) times the cross-entropy of the masked tokens:
sahoo2024, shi2024). With reverse rates r(y) = (-a' / a) pi(x_t) q_t(y) / q_t(x_t), true and
modelled, it is the

    sum over tokens and y != x_t of  r_model - r_true + r_true log(r_true / r_model).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import safe
from gen_jax.annotations import shaped
from gen_jax.checks import as_times, is_known
from gen_jax.discrete_diffusion.token_path import (
    TokenPath,
    check_law,
    check_tokens,
    checked,
    is_absorbing,
    marginal,
    mask_token,
    rates,
    reverse,
)
from gen_jax.errors import ConfigError
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Int, Key, TokenDenoiser


class Bound(NamedTuple):
    """Nats per example [B]; -log p(x0) is at most the expectation of the sum."""

    prior: Float[Array, "B"]
    diffusion: Float[Array, "B"]
    reconstruction: Float[Array, "B"]


def _x_log_ratio(p: Array, log_p: Array, log_q: Array) -> Array:
    """p (log p - log q), 0 where p is 0 and infinite where only q is 0."""
    some = p > 0
    return jnp.where(some, p * (jnp.where(some, log_p, 0) - jnp.where(some, log_q, 0)), 0)


def _rate_cost(true: Array, model: Array) -> Array:
    """model - true + true log(true / model), also where large rates differ by their rounding."""
    log_ratio = safe.log(model) - safe.log(true)
    near = (true > 0) & (jnp.abs(log_ratio) < 1)
    x = jnp.where(near, log_ratio, 0)
    far = model - true + _x_log_ratio(true, safe.log(true), safe.log(model))
    return jnp.where(near, true * (jnp.expm1(x) - x), far)


@shaped("t", "s")
def step_term(
    path: TokenPath,
    log_x0: Float[Array, "B N V"],
    x0: Int[Array, "B N"],
    x_t: Int[Array, "B N"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
) -> Float[Array, "B"]:
    """KL(q(x_s | x_t, x0) || p(x_s | x_t)) in nats, over all tokens; -log p(x0 | x_t) at s = 0.

    Raises ConfigError for tokens that the data cannot have.
    """
    x0 = check_tokens(path, x0)
    known = jnp.log(jax.nn.one_hot(x0, len(path.noise)))
    true, model = reverse(path, known, x_t, t, s), reverse(path, log_x0, x_t, t, s)
    return jnp.sum(_x_log_ratio(jnp.exp(true), true, model), axis=(1, 2))


@shaped("t")
def rate_term(
    path: TokenPath,
    log_x0: Float[Array, "B N V"],
    x0: Int[Array, "B N"],
    x_t: Int[Array, "B N"],
    t: Float[Array, "B"],
) -> Float[Array, "B"]:
    """The integrand over t in [0, 1] of the continuous bound, in nats, summed over tokens.

    Raises ConfigError for tokens that the data, or x_t, cannot have.
    """
    x0, x_t = check_tokens(path, x0), check_tokens(path, x_t, "x_t", noisy=True)
    check_law(path, log_x0)
    if is_absorbing(path):
        return _absorbing_cost(path, log_x0, x0, x_t, t).sum(1)
    known = jnp.log(jax.nn.one_hot(x0, len(path.noise)))
    true, model = (rates(path, p, x_t, t) for p in (known, log_x0))
    return jnp.sum(_rate_cost(true, model), axis=(1, 2))


def _absorbing_cost(
    path: TokenPath, log_x0: Array, x0: Array, x_t: Array, t: Array
) -> Float[Array, "B N"]:
    """`_rate_cost` summed over values in closed form, -a' / (1 - a) (-log p(x0) - p(mask)) of a
    mask: it reads two of the V values."""
    mask = mask_token(path)
    a, slope = jax.jvp(path.keep, (t,), (jnp.ones_like(t),))
    hidden = (x_t == mask) & (a < 1)[:, None]
    rate = -slope / jnp.where(a < 1, 1 - a, 1)
    true = jnp.take_along_axis(log_x0, x0[..., None], -1)[..., 0]
    cost = -jnp.where(hidden, true, 0) - jnp.exp(log_x0[..., mask])
    return jnp.where(hidden, rate[:, None] * cost, 0)


@shaped("t")
def corrupt(
    key: Key[Array, "*batch"], path: TokenPath, x0: Int[Array, "B N"], t: Float[Array, "B"]
) -> Int[Array, "B N"]:
    """x_t ~ q(x_t | x0); one key, or one per example [B].

    Raises ConfigError for tokens that the data cannot have.
    """
    x0 = check_tokens(path, x0)
    kept = jnp.broadcast_to(path.keep(jnp.asarray(t)), x0.shape[:1])
    cumulative = jnp.cumsum(path.noise)

    def one(key, x0, kept):
        key_keep, key_noise = jax.random.split(key)
        drawn = jax.random.uniform(key_noise, x0.shape, cumulative.dtype) * cumulative[-1]
        noise = jnp.searchsorted(cumulative, drawn, side="right").astype(x0.dtype)
        return jnp.where(jax.random.bernoulli(key_keep, kept, x0.shape), x0, noise)

    return jax.vmap(one)(sample_keys(key, x0.shape[0]), x0, kept)


def bound(
    key: Key[Array, "*batch"],
    denoise: TokenDenoiser,
    path: TokenPath,
    x0: Int[Array, "B N"],
    times: Float[Array, " times"],
) -> Bound:
    """The bound for the steps of `times` [n + 1], 1 to 0, with one draw of x_t for each step.

    Raises ConfigError for tokens that the data cannot have, times that do not fall to 0, and a
    denoiser of another shape.
    """
    x0 = check_tokens(path, x0)
    times = as_times(times)
    if is_known(times) and (last := np.asarray(times)[-1]) != 0:
        raise ConfigError(f"times end at {last}, must end at 0: the rest of -log p is missing")
    keys, denoise = sample_keys(key, x0.shape[0]), checked(denoise, path)
    batch = lambda t: jnp.full(x0.shape[:1], t)
    q = marginal(path, x0, batch(times[0]))
    prior = jnp.sum(_x_log_ratio(q, jnp.log(q), jnp.log(path.noise)), axis=(1, 2))

    def term(index):
        t, s = batch(times[index]), batch(times[index + 1])
        x_t = corrupt(fold_in(keys, index), path, x0, t)
        return step_term(path, denoise(x_t, t), x0, x_t, t, s)

    last = times.shape[0] - 2
    total = jax.lax.fori_loop(
        0, last, lambda i, total: total + term(i), jnp.zeros(x0.shape[0], q.dtype)
    )
    return Bound(prior, total, term(last))
