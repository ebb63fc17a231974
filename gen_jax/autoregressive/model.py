"""Autoregressive models as a `GenerativeModel`: maximum likelihood, exact log p, one loop."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.decoding import Decoder, Decoding, checked, generate, guided
from gen_jax.autoregressive.factorisation import Factorisation, full_pass
from gen_jax.autoregressive.likelihoods import Likelihood
from gen_jax.autoregressive.options import (
    Options,
    Parts,
    check_values,
    checked_prompt,
    make_parts,
)
from gen_jax.checks import no_type_check, one_or_each
from gen_jax.condition_values import (
    is_guided,
    log_prob_over,
    null_or_drawn,
    null_or_needed,
    value_of,
)
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


def decoder_of(parts: Parts, params: Any, value: Any, k: int = 0, cached: bool = True) -> Decoder:
    """What generates in ordering k; not `cached` it computes the whole network for each value."""
    f = parts.factorisation
    if cached and f.decoder is not None:
        return f.decoder(params, value, k)
    shape = f.orders.shape[1], parts.likelihood.event
    return full_pass(f, params, value, k, shape, parts.dtype)


def in_order(
    parts: Parts,
    keys: Key[Array, "n"],
    decoder: Decoder,
    decoding: Decoding,
    prompt: Num[Array, "n L"] | None,
    k: int = 0,
) -> Num[Array, "n N E"]:
    """Samples of ordering k, in natural places."""
    law, order = parts.likelihood, parts.factorisation.orders[k]
    given = None if prompt is None else prompt.reshape(len(prompt), -1, law.event)
    size = len(order), law.event
    values = generate(keys, decoder, law.sample, *size, decoding, given, parts.dtype)
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
    guidance: float | Array = 1.0,
    cached: bool = True,
    **conditions: Any,
) -> Num[Array, "n ..."]:
    """Samples [n, ...] in data units.

    Args:
      temperature, top_k, top_p: see `Decoding`.
      prompt: the first values of every sample in the order of generation, [L] or [n, L], as the
        likelihood has them.
      guidance: w of p(value | condition)^w p(value)^(1 - w) at each place, see `guided`; one for
        all or one for each sample. Of laws by logits.
      cached: False computes the whole network for each value.
    Raises ConfigError for values out of range, for a prompt longer than an example, and for
    guidance by a condition that is not given, or that training never hid.
    """
    decoding, options = checked(Decoding(temperature, top_k, top_p)), parts.options
    prompt, keys = checked_prompt(parts, prompt, n), sample_keys(key, n)
    condition, dropout = options.condition, options.condition_dropout
    given, orders = value_of(condition, conditions, n), parts.factorisation.orders
    value = null_or_drawn(condition, dropout, given, fold_in(keys, CONDITION))
    null = None
    if is_guided(guidance, condition, dropout, given):
        assert condition is not None
        null = condition.null(n)

    def drawn(k: int) -> Array:
        decoder = decoder_of(parts, state.ema, value, k, cached)
        if null is not None:
            decoder = guided(decoder, decoder_of(parts, state.ema, null, k, cached), guidance)
        return in_order(parts, keys, decoder, decoding, prompt, k)

    u = drawn(0)
    if len(orders) > 1:
        draw = lambda key: jax.random.randint(key, (), 0, len(orders))
        chosen = jax.vmap(draw)(fold_in(keys, ORDER))
        for k in range(1, len(orders)):
            u = jnp.where((chosen == k)[:, None, None], drawn(k), u)
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
    weights = partial(one_or_each, "guidance")
    can_guide = parts.likelihood.logits and parts.options.condition is not None
    return compiled(
        model,
        condition=parts.options.condition,
        per_sample={"prompt": partial(checked_prompt, parts), "guidance": weights},
        without=() if can_guide else ("guidance",),
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
