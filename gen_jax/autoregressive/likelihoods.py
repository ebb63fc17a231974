"""Laws of one unit given the numbers that a network returns for it.

A unit is a value, or with coupled channels a whole pixel. Every law starts uniform or broad when
the numbers are zero.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.autoregressive.decoding import Decoding, draw
from gen_jax.errors import check_range
from gen_jax.likelihoods import (
    MIN_LOG_SCALE,
    bernoulli_log_prob,
    categorical_log_prob,
    component_centres,
)
from gen_jax.sampling import discretized_logistic
from gen_jax.types import Array, Float, Int, Key, Num


class Likelihood(NamedTuple):
    """A law of a unit's E values, given P numbers.

    Fields:
      size, event: P and E.
      inputs: `x -> x`, data as a network reads them, about [-1, 1].
      log_prob: `(x [..., E], raw [..., P]) -> [...]` in nats.
      sample: `(key, raw [P], decoding) -> x [E]`.
      levels: values 0 .. levels - 1, or 0 when they are real.
      logits: whether the numbers are logits, which guidance extrapolates.
    """

    size: int
    event: int
    inputs: Callable[[Array], Array]
    log_prob: Callable[[Array, Array], Array]
    sample: Callable[[Array, Array, Decoding], Array]
    levels: int = 0
    logits: bool = False


def bernoulli() -> Likelihood:
    """Values 0 and 1; the number is the logit of 1."""

    def log_prob(x: Num[Array, "... 1"], raw: Float[Array, "... 1"]) -> Float[Array, "..."]:
        return bernoulli_log_prob(raw[..., 0], x[..., 0])

    def sample(key: Key[Array, ""], raw: Float[Array, "1"], decoding: Decoding) -> Array:
        return draw(key, jnp.concatenate([jnp.zeros_like(raw), raw]), decoding)[None]

    inputs = lambda x: 2 * x.astype(jnp.float32) - 1
    return Likelihood(1, 1, inputs, log_prob, sample, 2, logits=True)


def categorical(levels: int = 256) -> Likelihood:
    """Values 0 .. levels - 1 by a softmax; others have log-probability NaN."""
    check_range("levels", levels, 2, integer=True)

    def log_prob(x: Num[Array, "... 1"], raw: Float[Array, "... P"]) -> Float[Array, "..."]:
        return categorical_log_prob(raw, x[..., 0])

    def sample(key: Key[Array, ""], raw: Float[Array, "P"], decoding: Decoding) -> Int[Array, "1"]:
        return draw(key, raw, decoding)[None]

    inputs = lambda x: discretized_logistic.scaled(x, levels=levels)
    return Likelihood(levels, 1, inputs, log_prob, sample, levels, logits=True)


def _components(raw: Float[Array, "... P"], num: int, spread: float) -> tuple[Array, Array, Array]:
    """Logits, means, log-scales [..., K]; at zero K equal bumps side by side on [-1, 1] spread."""
    logits, means, log_scales = jnp.split(raw, 3, axis=-1)
    centres = (spread * component_centres(num)).astype(raw.dtype)
    return logits, means + centres, jnp.maximum(log_scales - math.log(num), MIN_LOG_SCALE)


def gaussian_mixture(num: int = 10) -> Likelihood:
    """Real values by `num` Gaussians: logits, means and log standard deviations (at least e^-7).

    Data of a smaller spread than that, 0.0009, need `data.standardize`.
    """
    check_range("num", num, 1, integer=True)

    def log_prob(x: Float[Array, "... 1"], raw: Float[Array, "... P"]) -> Float[Array, "..."]:
        logits, means, log_stds = _components(raw, num, 2.0)
        z = (x - means) * jnp.exp(-log_stds)
        terms = -(z**2) / 2 - log_stds - math.log(2 * math.pi) / 2
        return jax.nn.logsumexp(jax.nn.log_softmax(logits) + terms, axis=-1)

    def sample(key: Key[Array, ""], raw: Float[Array, "P"], decoding: Decoding) -> Array:
        key_component, key_value = jax.random.split(key)
        logits, means, log_stds = _components(raw, num, 2.0)
        k = draw(key_component, logits, decoding)
        noise = decoding.temperature * jax.random.normal(key_value, dtype=raw.dtype)
        return (means[k] + jnp.exp(log_stds[k]) * noise)[None]

    return Likelihood(3 * num, 1, lambda x: x, log_prob, sample)


def gaussian() -> Likelihood:
    """Real values by one Gaussian: its mean and log standard deviation (at least e^-7)."""
    one = gaussian_mixture(1)
    with_logit = lambda raw: jnp.concatenate([jnp.zeros_like(raw[..., :1]), raw], -1)
    return one._replace(
        size=2,
        log_prob=lambda x, raw: one.log_prob(x, with_logit(raw)),
        sample=lambda key, raw, decoding: one.sample(key, with_logit(raw), decoding),
    )


def logistic_mixture(num: int = 10, channels: int = 1, levels: int = 256) -> Likelihood:
    """Pixels of C channels by a mixture of discretised logistics (salimans2017 sec. 2.1-2.2).

    A component is shared by the channels; the mean of channel c moves linearly with the values of
    the channels before it, by coefficients tanh(.) of its own.
    """
    check_range("num", num, 1, integer=True)
    check_range("channels", channels, 1, integer=True)
    check_range("levels", levels, 2, integer=True)
    pairs = [(c, b) for c in range(channels) for b in range(c)]

    def parameters(raw):
        """Logits [..., K]; means, log-scales [..., C, K]; coefficients [..., pairs, K]."""
        blocks = raw.reshape(*raw.shape[:-1], -1, num)
        logits = blocks[..., 0, :]
        rest = blocks[..., 1:, :]
        means = rest[..., :channels, :] + component_centres(num).astype(raw.dtype)
        log_scales = rest[..., channels : 2 * channels, :] - math.log(num)
        log_scales = jnp.maximum(log_scales, MIN_LOG_SCALE)
        return logits, means, log_scales, jnp.tanh(rest[..., 2 * channels :, :])

    def shift(coefficients, values, c):
        """How far the mean of channel c moves: [..., K], from values [..., C] on [-1, 1]."""
        terms = [coefficients[..., pairs.index((c, b)), :] * values[..., b, None] for b in range(c)]
        return sum(terms, start=jnp.zeros(()))

    def log_prob(x: Num[Array, "... C"], raw: Float[Array, "... P"]) -> Float[Array, "..."]:
        logits, means, log_scales, coefficients = parameters(raw)
        values = discretized_logistic.scaled(x, raw.dtype, levels)
        terms = jax.nn.log_softmax(logits)
        for c in range(channels):
            mean = means[..., c, :] + shift(coefficients, values, c)
            terms = terms + discretized_logistic.component_log_probs(
                x[..., c], mean, log_scales[..., c, :], levels
            )
        return jax.nn.logsumexp(terms, axis=-1)

    def sample(key: Key[Array, ""], raw: Float[Array, "P"], decoding: Decoding) -> Array:
        key_component, key_value = jax.random.split(key)
        logits, means, log_scales, coefficients = parameters(raw)
        k = draw(key_component, logits, decoding)
        noise = jax.random.logistic(key_value, (channels,), raw.dtype) * decoding.temperature
        values = jnp.zeros(channels, raw.dtype)
        for c in range(channels):
            mean = means[c, k] + jnp.broadcast_to(shift(coefficients, values, c), num)[k]
            value = mean + jnp.exp(log_scales[c, k]) * noise[c]
            level = discretized_logistic.quantize(value, levels)
            values = values.at[c].set(discretized_logistic.scaled(level, raw.dtype, levels))
        return discretized_logistic.quantize(values, levels)

    inputs = lambda x: discretized_logistic.scaled(x, levels=levels)
    size = num * (1 + 2 * channels + len(pairs))
    return Likelihood(size, channels, inputs, log_prob, sample, levels)


LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "bernoulli": bernoulli,
    "categorical": categorical,
    "gaussian": gaussian,
    "gaussian_mixture": gaussian_mixture,
    "logistic_mixture": logistic_mixture,
}
"""Constructors by name."""
