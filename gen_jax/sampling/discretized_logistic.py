"""Mixtures of discretised logistics over the integers 0 .. levels - 1 (salimans2017 eq. 1-2).

Grey levels are numbers in [-1, 1]: level k is v(k) = 2 k / (levels - 1) - 1. Its bin is v(k) +- 1 /
(levels - 1); the first and last bins reach to -inf and inf, so that the bins' probabilities sum to
1. Parameters have a trailing axis K of components; x has none.
"""

import math

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.errors import check_range
from gen_jax.sampling.categorical import tempered
from gen_jax.types import Array, Float, Key, Num


def scaled(x: Num[Array, "..."], dtype=jnp.float32, levels: int = 256) -> Float[Array, "..."]:
    """Level k as a number in [-1, 1]."""
    return jnp.asarray(x, dtype) * (2 / (levels - 1)) - 1


@floats(means="... K", log_scales="... K")
def component_log_probs(
    x: Num[Array, "..."],
    means: Float[Array, "... K"],
    log_scales: Float[Array, "... K"],
    levels: int = 256,
) -> Float[Array, "... K"]:
    """log P(x) in nats under each logistic: log(F(upper edge) - F(lower edge)).

    With a, b the edges in units of the scale, F(a) - F(b) = F(a) (1 - F(b)) (1 - e^(b - a)): three
    logarithms that neither cancel nor underflow, whatever the scale.
    """
    half = 1 / (check_range("levels", levels, 2, integer=True) - 1)
    inverse_scale = jnp.exp(-log_scales)
    offset = scaled(x, means.dtype, levels)[..., None] - means
    upper = jax.nn.log_sigmoid((offset + half) * inverse_scale)
    lower = jax.nn.log_sigmoid(-(offset - half) * inverse_scale)
    inside = upper + lower + _log_share(2 * half * inverse_scale, math.log(2 * half) - log_scales)
    level = x[..., None]
    return jnp.where(level == 0, upper, jnp.where(level == levels - 1, lower, inside))


def _log_share(width: Float[Array, "..."], log_width: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 - e^-width), by its expansion where it is narrow, also where the width underflows."""
    narrow = width < 1e-4
    wide = jnp.where(narrow, 1, width)
    return jnp.where(narrow, log_width - width / 2, jnp.log(-jnp.expm1(-wide)))


@floats(logits="... K", means="... K", log_scales="... K")
def log_prob(
    x: Num[Array, "..."],
    logits: Float[Array, "... K"],
    means: Float[Array, "... K"],
    log_scales: Float[Array, "... K"],
    levels: int = 256,
) -> Float[Array, "..."]:
    """log P(x) in nats under the mixture with weights softmax(logits)."""
    terms = component_log_probs(x, means, log_scales, levels)
    return jax.nn.logsumexp(jax.nn.log_softmax(logits) + terms, axis=-1)


def quantize(value: Float[Array, "..."], levels: int = 256) -> Float[Array, "..."]:
    """The level whose bin holds a value of the line."""
    return jnp.clip(jnp.round((value + 1) * ((levels - 1) / 2)), 0, levels - 1)


@floats(key="key", logits="... K", means="... K", log_scales="... K")
def sample(
    key: Key[Array, ""],
    logits: Float[Array, "... K"],
    means: Float[Array, "... K"],
    log_scales: Float[Array, "... K"],
    levels: int = 256,
    temperature: float | Float[Array, ""] = 1.0,
) -> Float[Array, "..."]:
    """Levels drawn exactly from the mixture: a component, a logistic number, its bin.

    Args:
      temperature: divides the logits and multiplies the scales; 1 is the model's law.
    """
    key_component, key_value = jax.random.split(key)
    component = jax.random.categorical(key_component, tempered(logits, temperature))[..., None]
    take = lambda values: jnp.take_along_axis(values, component, -1)[..., 0]
    noise = temperature * jax.random.logistic(key_value, component.shape[:-1], means.dtype)
    return quantize(take(means) + jnp.exp(take(log_scales)) * noise, levels)
