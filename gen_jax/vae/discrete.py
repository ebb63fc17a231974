"""Discrete VAE: categorical latents, trained through the Gumbel-softmax (jang2017, maddison2017).

Each of the variables takes one of `classes` values; the prior is uniform. In training a
variable is a relaxed one-hot vector, softmax((logits + Gumbel noise) / temperature), and the KL is
that of the categorical laws in closed form; samples and bounds use exact draws.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import check_output, no_type_check
from gen_jax.data_units import log_det
from gen_jax.errors import ConfigError, check_range, check_shape
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import optimizer_step, start_moments
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Int, Key
from gen_jax.vae.coder import Network
from gen_jax.vae.elbo import with_free_bits
from gen_jax.vae.evaluate import streaming_log_mean
from gen_jax.vae.likelihoods import Likelihood, check_unshared, make_likelihood
from gen_jax.vae.units import draw_data, to_values


def relaxed_one_hot(
    key: Key[Array, ""],
    logits: Float[Array, "*B K"],
    temperature: float | Float[Array, ""],
    hard: bool = False,
) -> Float[Array, "*B K"]:
    """A draw from the Gumbel-softmax law; with `hard` a one-hot vector that passes its gradient."""
    noise = jax.random.gumbel(key, logits.shape, logits.dtype)
    soft = jax.nn.softmax((logits + noise) / temperature)
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
    variables: int = 16
    classes: int = 8
    likelihood: str | Likelihood = "bernoulli"
    transform: Any = None
    temperature: float = 1.0
    final_temperature: float = 0.5
    anneal: int = 1000
    hard: bool = False
    beta: float = 1.0
    free_bits: float = 0.0
    evaluation_samples: int = 64


class DiscreteState(NamedTuple):
    """Parameters of encoder and decoder, the optimizer's state, the number of updates."""

    params: Any
    optimizer: Any
    step: Int[Array, ""]


def _checked(options: DiscreteOptions) -> DiscreteOptions:
    check_shape("shape", options.shape)
    check_range("classes", options.classes, 2, integer=True)
    for name in ("variables", "evaluation_samples"):
        check_range(name, getattr(options, name), 1, integer=True)
    for name in ("temperature", "final_temperature"):
        check_range(name, getattr(options, name), 0, open_low=True)
    check_range("anneal", options.anneal, 0, integer=True)
    for name in ("beta", "free_bits"):
        check_range(name, getattr(options, name), 0)
    return options


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
def discrete_vae(
    encoder: Network, decoder: Network, optimizer: optax.GradientTransformation, **options
) -> GenerativeModel:
    """A VAE with categorical latents; `options` are the fields of `DiscreteOptions`.

    `sample` takes `mean=True` for E[x | z], and `codes` [n, variables] in place of the prior's;
    `log_prob` is the importance weighted bound from exact draws. Raises ConfigError for values out
    of range.
    """
    settings = _checked(DiscreteOptions(**options))
    law = settings.likelihood
    law = check_unshared(make_likelihood(law) if isinstance(law, str) else law)
    size = settings.variables * settings.classes
    networks = encoder(size), decoder(math.prod(settings.shape) * law.size)

    encode = partial(to_values, settings, law)

    def logits_of(params, u):
        raw: Any = networks[0].apply(params["encoder"], law.network_input(u).reshape(len(u), -1))
        check_output("encoder", raw, (len(u), size))
        return raw.reshape(len(u), settings.variables, settings.classes)

    def raw_of(params, z):
        raw: Any = networks[1].apply(params["decoder"], z.reshape(len(z), -1))
        check_output("decoder", raw, (len(z), math.prod(settings.shape) * law.size))
        return raw.reshape(len(z), *settings.shape, law.size)

    def log_likelihood(params, z, u):
        return law.log_prob(raw_of(params, z), u).reshape(len(u), -1).sum(1)

    def init(key, batch):
        key_encode, key_encoder, key_decoder = jax.random.split(key, 3)
        u = encode(key_encode, batch["x"])[:1]
        inputs = law.network_input(u).reshape(1, -1)
        params = {
            "encoder": networks[0].init(key_encoder, inputs),
            "decoder": networks[1].init(key_decoder, jnp.zeros((1, size))),
        }
        return DiscreteState(params, start_moments(optimizer, params), jnp.int32(0))

    def step(key, state, batch):
        key_encode, key_draw = jax.random.split(key)
        u, ends = encode(key_encode, batch["x"]), (settings.temperature, settings.final_temperature)
        temperature = annealed(state.step, *ends, settings.anneal)

        def loss(params):
            logits = logits_of(params, u)
            relax = lambda key, own: relaxed_one_hot(key, own, temperature, settings.hard)
            z = jax.vmap(relax)(sample_keys(key_draw, len(u)), logits)
            log_p, kl = log_likelihood(params, z, u), uniform_kl_terms(logits)
            cost = with_free_bits(kl, settings.free_bits).sum(-1)
            aux = {"log_likelihood": log_p, "kl": kl.sum(-1)}
            return settings.beta * cost - log_p, aux

        params, memory, metrics = optimizer_step(loss, optimizer, state.params, state.optimizer)
        metrics["temperature"] = temperature
        return DiscreteState(params, memory, state.step + 1), metrics

    def sample(key, state, n, mean=False, codes=None):
        keys, dims = sample_keys(key, n), (settings.variables,)
        if codes is None:
            pick = lambda key: jax.random.randint(key, dims, 0, settings.classes)
            codes = jax.vmap(pick)(fold_in(keys, 0))
        z = jax.nn.one_hot(checked_codes(codes, n, settings), settings.classes)
        raw = raw_of(state.params, z)
        return draw_data(settings, law, fold_in(keys, 1), raw, mean)

    def log_prob(key, state, x, num_samples=settings.evaluation_samples):
        keys = sample_keys(key, len(x))
        u = encode(fold_in(keys, 0), x)
        logits = logits_of(state.params, u)
        log_q, log_p = jax.nn.log_softmax(logits), -settings.variables * math.log(settings.classes)

        def one(index):
            drawn = jax.vmap(jax.random.categorical)(fold_in(fold_in(keys, 1), index), logits)
            own = jnp.take_along_axis(log_q, drawn[..., None], -1)[..., 0].sum(-1)
            z = jax.nn.one_hot(drawn, settings.classes)
            return (log_likelihood(state.params, z, u) + log_p - own)[None]

        bound = streaming_log_mean(one, num_samples, 1, jnp.zeros(len(x))).value
        return bound + log_det(settings, u)

    model = GenerativeModel(init, step, sample, log_prob, "lower bound")
    codes_of = lambda codes, n: checked_codes(codes, n, settings)
    return compiled(model, per_sample={"codes": codes_of}, encode=encode)
