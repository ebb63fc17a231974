"""Autoregressive models as a `GenerativeModel`: maximum likelihood, exact log p, one loop."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.decoding import Decoding, checked, generate
from gen_jax.autoregressive.factorisation import Factorisation, full_pass
from gen_jax.autoregressive.likelihoods import Likelihood
from gen_jax.autoregressive.options import (
    Options,
    Parts,
    check_values,
    checked_prompt,
    make_parts,
)
from gen_jax.checks import no_type_check
from gen_jax.condition_values import log_prob_over, null_or_drawn, null_or_needed, value_of
from gen_jax.data_units import Data, check_data, log_det, to_data
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import options_from
from gen_jax.types import Array, Batch, Float, Key, Metrics, Num, State

ORDER, CONDITION = 0x6F726465, 0x636F6E64
"""Folded into a sample's key for what is drawn once; place i folds in i."""


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> AveragedState:
    """Fresh state; raises ConfigError or DataError when the batch does not fit the model."""
    condition = parts.options.condition
    if condition is not None:
        condition.of_batch(batch)
    check_data(parts.options, batch["x"], partial(check_values, parts.likelihood))
    null = None if condition is None else condition.null(1)
    return init_state_with_ema(parts.factorisation.init(key, null), parts.optimizer)


def training_loss(
    parts: Parts, params: Any, key: Key[Array, ""], batch: Batch
) -> tuple[Float[Array, "B"], Metrics]:
    """-log p in nats, of weighted places, for one ordering drawn at random."""
    options, f = parts.options, parts.factorisation
    key_encode, key_drop, key_order, key_dropout = jax.random.split(key, 4)
    u, value = parts.encode(key_encode, batch["x"]), None
    if options.condition is not None:
        kept = jax.random.bernoulli(key_drop, 1 - options.condition_dropout, u.shape[:1])
        value = options.condition.hide(options.condition.of_batch(batch), ~kept)
    k = jax.random.randint(key_order, (), 0, len(f.orders))
    training: dict[str, Any] = {}
    if options.dropout:
        training = {"deterministic": False, "rngs": {"dropout": key_dropout}}
    units = parts.log_units(params, u, value, k, **training)
    nats = -(units if options.weights is None else units * options.weights).sum(-1)
    return nats, {"bits_per_dim": nats / (u[0].size * np.log(2))}


def step(
    parts: Parts, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    """One update on the loss, and one of the moving average."""
    loss = lambda params: training_loss(parts, params, key, batch)
    return optimizer_step_with_ema(loss, parts.optimizer, parts.options.ema_decay, state)


def log_prob(
    parts: Parts, key: Key[Array, ""] | None, state: AveragedState, x: Any, **conditions: Any
) -> Float[Array, "B"]:
    """log p(x | condition) in nats and data units, exact; of several orderings the mean of p.

    Of a condition that is not given see `condition_values.log_prob_over`.
    """
    u, options = parts.encode(key, x), parts.options
    orders = range(len(parts.factorisation.orders))

    def given(value):
        terms = jnp.stack([parts.log_units(state.ema, u, value, k).sum(-1) for k in orders])
        return jax.nn.logsumexp(terms, axis=0) - np.log(len(orders))

    value = value_of(options.condition, conditions, len(u))
    total = log_prob_over(options.condition, options.condition_dropout, value, len(u), given)
    return total + log_det(options, u.reshape(len(u), *options.shape))


def in_order(
    parts: Parts,
    keys: Key[Array, "n"],
    params: Any,
    k: int,
    value: Any,
    decoding: Decoding,
    prompt: Num[Array, "n L"] | None,
    cached: bool,
) -> Num[Array, "n N E"]:
    """Samples of ordering k, in natural places."""
    f, event = parts.factorisation, parts.likelihood.event
    num, order = f.orders.shape[1], f.orders[k]
    dtype = jnp.int32 if parts.likelihood.levels else jnp.float32
    if cached and f.decoder is not None:
        decoder = f.decoder(params, value, k)
    else:
        decoder = full_pass(f, params, value, k, (num, event), dtype)
    given = None if prompt is None else prompt.reshape(len(prompt), -1, event)
    values = generate(keys, decoder, parts.likelihood.sample, num, event, decoding, given, dtype)
    return values[:, np.argsort(order)]


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    n: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    prompt: Num[Array, "..."] | None = None,
    cached: bool = True,
    **conditions: Any,
) -> Num[Array, "n ..."]:
    """Samples [n, ...] in data units.

    Args:
      temperature, top_k, top_p: see `Decoding`.
      prompt: the first values of every sample in the order of generation, [L] or [n, L], as the
        likelihood has them.
      cached: False computes the whole network for each value.
    Raises ConfigError for values out of range, and for a prompt longer than an example.
    """
    decoding, options = checked(Decoding(temperature, top_k, top_p)), parts.options
    prompt, keys = checked_prompt(parts, prompt, n), sample_keys(key, n)
    value, orders = value_of(options.condition, conditions, n), parts.factorisation.orders
    keys_drawn = fold_in(keys, CONDITION)
    value = null_or_drawn(options.condition, options.condition_dropout, value, keys_drawn)
    u = in_order(parts, keys, state.ema, 0, value, decoding, prompt, cached)
    if len(orders) > 1:
        draw = lambda key: jax.random.randint(key, (), 0, len(orders))
        chosen = jax.vmap(draw)(fold_in(keys, ORDER))
        for k in range(1, len(orders)):
            other = in_order(parts, keys, state.ema, k, value, decoding, prompt, cached)
            u = jnp.where((chosen == k)[:, None, None], other, u)
    return to_data(options, u)


def logits(
    model: GenerativeModel, state: State, x: Data, **conditions: Any
) -> Float[Array, "B N P"]:
    """The P numbers of each unit's law from the units before it, in natural places: logits of a
    categorical law, the parameters of another (`Likelihood`).

    They are those of the moving average, in the first ordering. A transform with noise draws the
    same at each call.

    Args:
      x: in data units.
      conditions: such as label=3, for all examples, or [B]. Without it the condition is hidden.
    Raises ConfigError for a model of another family, and for a condition that does not fit.
    """
    parts, own = parts_of(model, state, Parts)
    condition, dropout = parts.options.condition, parts.options.condition_dropout
    u = parts.encode(jax.random.key(0), x)
    value = value_of(condition, conditions, len(u))
    return parts.raw(own.ema, u, null_or_needed(condition, dropout, value, len(u)), 0)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    model = assemble(parts, init_state, step, draw_samples, log_prob, "exact")
    return compiled(
        model,
        condition=parts.options.condition,
        per_sample={"prompt": partial(checked_prompt, parts)},
        encode=parts.encode,
    )


@no_type_check
def autoregressive(
    factorisation: Factorisation,
    likelihood: Likelihood,
    optimizer: optax.GradientTransformation,
    **options,
) -> GenerativeModel:
    """Any factorisation with any likelihood; `options` are the fields of `Options`.

    `sample` takes the arguments of `draw_samples`, and both it and `log_prob` the names of the
    condition. Raises ConfigError for options out of range.
    """
    return model_from_parts(
        make_parts(factorisation, likelihood, optimizer, options_from(Options, options))
    )
