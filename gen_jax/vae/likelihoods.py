"""Decoder likelihoods: what the numbers of a decoder say about each dimension of the data.

All are densities, or probabilities, of the values they are given, so that with the transform's
change of density they compare in data units (bits/dim). Values are

    real     any numbers, or dequantised images (`data.symmetric_images`, `data.dequantize`);
             a learned scale is at least e^-7 = 0.0009: smaller data need `data.standardize`
    binary   0.0 or 1.0 (`data.binarize`)
    levels   integers 0 .. levels - 1, as images are stored
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError, DataError, check_choice, check_range
from gen_jax.likelihoods import (
    MIN_LOG_SCALE,
    bernoulli_log_prob,
    categorical_log_prob,
    component_centres,
)
from gen_jax.sampling import discretized_logistic
from gen_jax.types import Array, Float, Key, Num
from gen_jax.vae.gaussians import log_normal

Parts = tuple[Array, Array, Array]
"""Logits, means and log scales [..., K] of a mixture of logistics."""


class Likelihood(NamedTuple):
    """p(x | decoder), independent over dimensions.

    Fields:
      size: numbers of the decoder per dimension.
      shared: further ones that are single parameters of the model, the same everywhere.
      values: "real", "binary" or "levels".
      log_prob: `(raw [..., size + shared], x [...]) -> [...]`, nats of each dimension.
      sample: `(key, raw) -> x [...]`, a draw.
      mean: `raw -> [...]`, E[x].
      network_input: `x -> [...]` floats of about unit size for an encoder.
    """

    size: int
    shared: int
    values: str
    log_prob: Callable[[Array, Array], Array]
    sample: Callable[[Array, Array], Array]
    mean: Callable[[Array], Array]
    network_input: Callable[[Array], Array] = lambda x: x


def floor(log_scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """log_scale kept above MIN_LOG_SCALE, smoothly: the gradient never vanishes at once."""
    return MIN_LOG_SCALE + jax.nn.softplus(log_scale - MIN_LOG_SCALE)


def _gaussian(size: int, shared: int, log_scale_of: Callable[[Array], Array]) -> Likelihood:
    def log_prob(raw, x):
        return log_normal(x, raw[..., 0], log_scale_of(raw))

    def sample(key, raw):
        noise = jax.random.normal(key, raw.shape[:-1], raw.dtype)
        return raw[..., 0] + jnp.exp(log_scale_of(raw)) * noise

    return Likelihood(size, shared, "real", log_prob, sample, lambda raw: raw[..., 0])


def gaussian(scale: float = 1.0) -> Likelihood:
    """N(raw, scale^2) with a fixed scale."""
    check_range("scale", scale, 0, open_low=True)
    log_scale = math.log(scale)
    return _gaussian(1, 0, lambda raw: jnp.full(raw.shape[:-1], log_scale, raw.dtype))


def gaussian_scalar() -> Likelihood:
    """N(raw, scale^2) with one learned scale (rybkin2021: sigma-VAE), at least e^-7 = 0.0009."""
    return _gaussian(1, 1, lambda raw: floor(raw[..., 1]))


def gaussian_diagonal() -> Likelihood:
    """N(raw_0, exp(raw_1)^2), the scale a function of z for each dimension, at least e^-7."""
    return _gaussian(2, 0, lambda raw: floor(raw[..., 1]))


def bernoulli() -> Likelihood:
    """P(1) = sigmoid(raw). On grey values it would be no probability: they are refused."""

    def log_prob(raw, x):
        return bernoulli_log_prob(raw[..., 0], x)

    def sample(key, raw):
        white = jax.random.bernoulli(key, jax.nn.sigmoid(raw[..., 0]))
        return white.astype(raw.dtype)

    mean = lambda raw: jax.nn.sigmoid(raw[..., 0])
    return Likelihood(1, 0, "binary", log_prob, sample, mean, lambda x: 2 * x - 1)


def _levels_input(levels: int) -> Callable[[Array], Array]:
    return lambda x: discretized_logistic.scaled(x, levels=levels)


def categorical(levels: int = 256) -> Likelihood:
    """softmax(raw) over the values 0 .. levels - 1."""
    check_range("levels", levels, 2, 256, integer=True)
    sample = lambda key, raw: jax.random.categorical(key, raw)
    mean = lambda raw: jax.nn.softmax(raw) @ jnp.arange(levels, dtype=raw.dtype)
    log_prob, inputs = categorical_log_prob, _levels_input(levels)
    return Likelihood(levels, 0, "levels", log_prob, sample, mean, inputs)


def _bin_mean(levels: int, parts: Parts) -> Array:
    """E[x] of a discretised mixture by the sum over all values, one at a time."""
    shape = parts[0].shape[:-1]

    def body(total, level):
        log_p = discretized_logistic.log_prob(jnp.full(shape, level), *parts, levels=levels)
        return total + level * jnp.exp(log_p), None

    start = jnp.zeros(shape, parts[0].dtype)
    return jax.lax.scan(body, start, jnp.arange(levels, dtype=parts[0].dtype))[0]


def discretized_logistic_mixture(components: int = 5, levels: int = 256) -> Likelihood:
    """A mixture of logistics, integrated over each value's bin (salimans2017)."""
    check_range("components", components, 1, integer=True)
    check_range("levels", levels, 2, 256, integer=True)
    centres = component_centres(components)

    def parts(raw: Array) -> Parts:
        logits, means, log_scales = jnp.split(raw, 3, axis=-1)
        return logits, means + centres.astype(raw.dtype), floor(log_scales - 1)

    def log_prob(raw, x):
        return discretized_logistic.log_prob(x, *parts(raw), levels=levels)

    sample = lambda key, raw: discretized_logistic.sample(key, *parts(raw), levels=levels)
    mean = lambda raw: _bin_mean(levels, parts(raw))
    size = 3 * components
    return Likelihood(size, 0, "levels", log_prob, sample, mean, _levels_input(levels))


def discretized_logistic_single(levels: int = 256) -> Likelihood:
    """One logistic of learned mean and scale, integrated over each value's bin (kingma2016)."""
    return discretized_logistic_mixture(1, levels)


LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "gaussian": gaussian,
    "gaussian_scalar": gaussian_scalar,
    "gaussian_diagonal": gaussian_diagonal,
    "bernoulli": bernoulli,
    "categorical": categorical,
    "discretized_logistic": discretized_logistic_single,
    "discretized_logistic_mixture": discretized_logistic_mixture,
}
"""Every likelihood by name."""


def make_likelihood(name: str, **options) -> Likelihood:
    """A likelihood of LIKELIHOODS. Raises ConfigError for unknown names and values out of range."""
    return LIKELIHOODS[check_choice("likelihood", name, LIKELIHOODS)](**options)


def check_unshared(likelihood: Likelihood) -> Likelihood:
    """The likelihood; raises ConfigError for one with learned numbers of its own."""
    if likelihood.shared:
        raise ConfigError(
            "a likelihood with one learned scale for everything does not fit this model "
            "(choose a fixed one, or one that the decoder gives)"
        )
    return likelihood


def check_values(likelihood: Likelihood, x: Num[Array | np.ndarray, "..."]) -> None:
    """Raise for data that a likelihood is not defined on: Bernoulli on 0 .. 255, reals on levels.

    ConfigError for the wrong kind of numbers; DataError for binary values other than 0 and 1, as
    far as they are known (not under jit).
    """
    integers = jnp.issubdtype(x.dtype, jnp.integer)
    if integers != (likelihood.values == "levels"):
        kinds = {name: make().values == "levels" for name, make in LIKELIHOODS.items()}
        fits = ", ".join(name for name, levels in kinds.items() if levels == integers)
        raise ConfigError(
            f"a likelihood of {likelihood.values} values does not fit data of dtype {x.dtype} "
            f"(choose likelihood from: {fits}; or another transform)"
        )
    if likelihood.values != "binary" or isinstance(x, jax.core.Tracer):
        return
    values = np.asarray(x)
    if not np.all((values == 0) | (values == 1)):
        found = f"[{values.min():g}, {values.max():g}]"
        raise DataError(
            f"likelihood='bernoulli' takes 0 and 1 and was given values in {found} (binarise by "
            "transform=data.binarize(); grey values take 'gaussian_scalar' or, as integers, "
            "'discretized_logistic')"
        )


def sample_each(
    likelihood: Likelihood, keys: Key[Array, "n"], raw: Float[Array, "n ..."]
) -> Num[Array, "n ..."]:
    """One draw per example with its own key."""
    return jax.vmap(likelihood.sample)(keys, raw)
