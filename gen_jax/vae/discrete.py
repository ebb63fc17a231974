"""Discrete VAE: categorical latents, trained through the Gumbel-softmax (jang2017, maddison2017).

Each of the variables takes one of `classes` values; the prior is uniform. In training a
variable is a relaxed one-hot vector, softmax((logits + Gumbel noise) / temperature), and the KL is
that of the categorical laws in closed form; samples and bounds use exact draws.
"""

import math
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import as_key, check_output, no_type_check
from gen_jax.data_units import Data, log_det
from gen_jax.errors import ConfigError, check_range, check_shape
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import PlainState, optimizer_step, start_moments
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import Count, Natural, Positive, Range, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, State
from gen_jax.vae.elbo import with_free_bits
from gen_jax.vae.evaluate import streaming_log_mean
from gen_jax.vae.likelihoods import Likelihood, check_unshared, make_likelihood
from gen_jax.vae.options import Network, check_factory
from gen_jax.vae.units import draw_data, to_values


def relaxed_one_hot(
    key: Key[Array, ""],
    logits: Float[Array, "*B K"],
    temperature: float | Float[Array, ""],
    hard: bool = False,
) -> Float[Array, "*B K"]:
    """A draw from the Gumbel-softmax law; with `hard` a one-hot vector that passes its gradient.

    However low the temperature, at 0 too: what is not the largest underflows to 0.
    """
    noisy = logits + jax.random.gumbel(as_key("key", key), logits.shape, logits.dtype)
    below = noisy - jax.lax.stop_gradient(jnp.max(noisy, -1, keepdims=True))
    least = jnp.finfo(noisy.dtype).tiny
    soft = jax.nn.softmax(below / jnp.maximum(jnp.asarray(temperature, noisy.dtype), least))
    if not hard:
        return soft
    one_hot = jax.nn.one_hot(jnp.argmax(soft, -1), logits.shape[-1], dtype=soft.dtype)
    return soft + jax.lax.stop_gradient(one_hot - soft)


def uniform_kl_terms(logits: Float[Array, "*B K"]) -> Float[Array, "*B"]:
    """KL(softmax(logits) || uniform) = log K - entropy, in nats."""
    log_q = jax.nn.log_softmax(logits)
    return jnp.log(logits.shape[-1]) + jnp.sum(jnp.exp(log_q) * log_q, -1)


def annealed(step: Int[Array, ""], start: float, end: float, steps: int) -> Float[Array, ""]:
    """A temperature falling geometrically from start to end over `steps` steps."""
    share = jnp.clip(step / max(steps, 1), 0, 1)
    return jnp.asarray(start * (end / start) ** share, jnp.float32)


class DiscreteOptions(NamedTuple):
    """How a discrete VAE is made.

    Fields:
      temperature, final_temperature, anneal: start, end, and steps between.
      hard: decode one-hot vectors in training too (straight-through).
      free_bits: nats per variable that cost nothing more.
    """

    shape: tuple[int, ...]
    variables: Count = 16
    classes: Annotated[int, Range(2)] = 8
    likelihood: str | Likelihood = "bernoulli"
    transform: Any = None
    temperature: Positive = 1.0
    final_temperature: Positive = 0.5
    anneal: Natural = 1000
    hard: bool = False
    beta: Weight = 1.0
    free_bits: Weight = 0.0
    evaluation_samples: Count = 64


class DiscreteParts(NamedTuple):
    """Networks, likelihood and optimizer of a discrete VAE."""

    encoder: Any
    decoder: Any
    likelihood: Likelihood
    optimizer: optax.GradientTransformation
    options: DiscreteOptions


def checked_codes(codes: Any, n: int, options: DiscreteOptions) -> Int[Array, "n variables"]:
    """Codes of n examples. Raises ConfigError for another shape and, outside jit, other values."""
    shape, values = (n, options.variables), jnp.asarray(codes)
    if values.shape != shape or not jnp.issubdtype(values.dtype, jnp.integer):
        raise ConfigError(
            f"codes must be integers of shape {shape}, got {values.dtype} of {values.shape}"
        )
    if not isinstance(values, jax.core.Tracer):
        for value in (values.min(), values.max()):
            check_range("codes", int(value), 0, options.classes - 1, integer=True)
    return values


@no_type_check
def make_discrete_parts(
    encoder: Network,
    decoder: Network,
    optimizer: optax.GradientTransformation,
    options: DiscreteOptions,
) -> DiscreteParts:
    """The parts of a model. Raises ConfigError for values out of range."""
    check_shape("shape", options.shape)
    check_ranges(options)
    law = options.likelihood
    law = check_unshared(make_likelihood(law) if isinstance(law, str) else law)
    check_factory("encoder", encoder)
    check_factory("decoder", decoder)
    made = (
        encoder(options.variables * options.classes),
        decoder(math.prod(options.shape) * law.size),
    )
    return DiscreteParts(*made, law, optimizer, options)


def _logits(parts: DiscreteParts, params: Any, u: Array) -> Float[Array, "B variables K"]:
    options = parts.options
    inputs = parts.likelihood.network_input(u).reshape(len(u), -1)
    raw: Any = parts.encoder.apply(params["encoder"], inputs)
    check_output("encoder", raw, (len(u), options.variables * options.classes))
    return raw.reshape(len(u), options.variables, options.classes)


def _raw(parts: DiscreteParts, params: Any, z: Float[Array, "B variables K"]) -> Array:
    """The decoder's numbers [B, *shape, P]."""
    shape, size = parts.options.shape, parts.likelihood.size
    raw: Any = parts.decoder.apply(params["decoder"], z.reshape(len(z), -1))
    check_output("decoder", raw, (len(z), math.prod(shape) * size))
    return raw.reshape(len(z), *shape, size)


def _log_likelihood(parts: DiscreteParts, params: Any, z: Array, u: Array) -> Float[Array, "B"]:
    return parts.likelihood.log_prob(_raw(parts, params, z), u).reshape(len(u), -1).sum(1)


def init_state(parts: DiscreteParts, key: Key[Array, ""], batch: Batch) -> PlainState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    key_encode, key_encoder, key_decoder = jax.random.split(key, 3)
    u = to_values(parts, key_encode, batch["x"])[:1]
    inputs = parts.likelihood.network_input(u).reshape(1, -1)
    z = jnp.zeros((1, parts.options.variables * parts.options.classes))
    params = {
        "encoder": parts.encoder.init(key_encoder, inputs),
        "decoder": parts.decoder.init(key_decoder, z),
    }
    return PlainState(params, start_moments(parts.optimizer, params), jnp.int32(0))


def step(
    parts: DiscreteParts, key: Key[Array, ""], state: PlainState, batch: Batch
) -> tuple[PlainState, Metrics]:
    """One update, by relaxed draws."""
    options = parts.options
    key_encode, key_draw = jax.random.split(key)
    u = to_values(parts, key_encode, batch["x"])
    ends = options.temperature, options.final_temperature
    temperature = annealed(state.step, *ends, options.anneal)

    def loss(params):
        logits = _logits(parts, params, u)
        relax = lambda key, own: relaxed_one_hot(key, own, temperature, options.hard)
        z = jax.vmap(relax)(sample_keys(key_draw, len(u)), logits)
        log_p, kl = _log_likelihood(parts, params, z, u), uniform_kl_terms(logits)
        cost = with_free_bits(kl, options.free_bits).sum(-1)
        aux = {"log_likelihood": log_p, "kl": kl.sum(-1)}
        return options.beta * cost - log_p, aux

    params, memory, metrics = optimizer_step(loss, parts.optimizer, state.params, state.optimizer)
    metrics["temperature"] = temperature
    return PlainState(params, memory, state.step + 1), metrics


def draw_samples(
    parts: DiscreteParts,
    key: Key[Array, "*batch"],
    state: PlainState,
    n: int,
    *,
    mean: bool = False,
    codes: Int[Array, "n variables"] | None = None,
) -> Array:
    """Samples [n, ...] in data units.

    Args:
      mean: E[x | z] instead of draws of x.
      codes: instead of draws of the prior.
    """
    options = parts.options
    keys, dims = sample_keys(key, n), (options.variables,)
    if codes is None:
        pick = lambda key: jax.random.randint(key, dims, 0, options.classes)
        codes = jax.vmap(pick)(fold_in(keys, 0))
    z = jax.nn.one_hot(checked_codes(codes, n, options), options.classes)
    raw = _raw(parts, state.params, z)
    return draw_data(options, parts.likelihood, fold_in(keys, 1), raw, mean)


def log_prob(
    parts: DiscreteParts,
    key: Key[Array, "*batch"],
    state: PlainState,
    x: Any,
    *,
    num_samples: int,
) -> Float[Array, "B"]:
    """The importance weighted bound of log p(x), [B] in nats, from `num_samples` exact draws."""
    options, keys = parts.options, sample_keys(key, len(x))
    u = to_values(parts, fold_in(keys, 0), x)
    logits = _logits(parts, state.params, u)
    log_q, log_p = jax.nn.log_softmax(logits), -options.variables * math.log(options.classes)

    def one(index):
        drawn = jax.vmap(jax.random.categorical)(fold_in(fold_in(keys, 1), index), logits)
        own = jnp.take_along_axis(log_q, drawn[..., None], -1)[..., 0].sum(-1)
        z = jax.nn.one_hot(drawn, options.classes)
        return (_log_likelihood(parts, state.params, z, u) + log_p - own)[None]

    bound = streaming_log_mean(one, num_samples, 1, jnp.zeros(len(x))).value
    return bound + log_det(options, u)


def model_from_discrete_parts(parts: DiscreteParts) -> GenerativeModel:
    """The model of parts that `make_discrete_parts` has checked."""
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        partial(log_prob, num_samples=parts.options.evaluation_samples),
        "lower bound",
    )
    codes_of = lambda codes, n: checked_codes(codes, n, parts.options)
    return compiled(model, per_sample={"codes": codes_of}, encode=partial(to_values, parts))


@no_type_check
def discrete_vae(
    encoder: Network, decoder: Network, optimizer: optax.GradientTransformation, **options
) -> GenerativeModel:
    """A VAE with categorical latents; `options` are the fields of `DiscreteOptions`.

    `sample` takes `mean=True` for E[x | z], and `codes` [n, variables] in place of the prior's;
    `log_prob` is the importance weighted bound from exact draws. `code_logits` is the trained
    encoder. Raises ConfigError for values out of range.
    """
    parts = make_discrete_parts(encoder, decoder, optimizer, options_from(DiscreteOptions, options))
    return model_from_discrete_parts(parts)


def code_logits(
    model: GenerativeModel, state: State, x: Data, *, key: Key[Array, "*batch"] | None = None
) -> Float[Array, "B variables K"]:
    """log q(code | x) up to constants, of x in data units, by a trained `discrete_vae`.

    Args:
      key: of a random transform; the same noise at each call if not given.
    """
    parts, own = parts_of(model, state, DiscreteParts)
    u = to_values(parts, jax.random.key(0) if key is None else key, x)
    return _logits(parts, own.params, u)
