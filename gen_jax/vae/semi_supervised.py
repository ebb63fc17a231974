"""A VAE with few labels (kingma2014b, model M2): x from (y, z), with y guessed where missing.

    labelled     L(x, y) = -log p(y) - E_q(z|x,y)[log p(x | y, z)] + KL(q(z | x, y) || p(z))
    unlabelled   U(x) = sum_y q(y | x) L(x, y) - H(q(y | x))   >= -log p(x)

and `weight` times the cross-entropy of q(y | x) on labelled examples. An example without a label
has y = C, the number of labels. The sum over labels is exact: the model is evaluated at each.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.axes import entry_of
from gen_jax.checks import check_output, no_type_check
from gen_jax.condition_values import value_of
from gen_jax.data_units import Data, log_det
from gen_jax.errors import ConfigError
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import optimizer_step, start_moments
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import options_from
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, Num, State
from gen_jax.vae.elbo import elbo, warm_up
from gen_jax.vae.model import draw_from
from gen_jax.vae.options import (
    Network,
    Options,
    Parts,
    check_factory,
    init_params,
    make_functions,
    networks_and_laws,
    refuse_unread,
)
from gen_jax.vae.trained import values
from gen_jax.vae.units import to_values
from gen_jax.vae.variants import VARIANTS

READS = ("prior", "num_samples", "kl", "beta", "warm_up", "free_bits", "weight")
"""Those of `options.OPTIONAL` that have a meaning here."""


class SemiState(NamedTuple):
    """Parameters of coder and classifier, the optimizer's state, the number of updates."""

    params: dict[str, Any]
    optimizer: Any
    step: Int[Array, ""]


def bounds_of_labels(
    key: Key[Array, "B"],
    parts: Parts,
    params: dict[str, Any],
    u: Num[Array, "B ..."],
    beta: float | Float[Array, ""] = 1.0,
    free_bits: float = 0.0,
) -> Float[Array, "B C"]:
    """log p(y) + ELBO of x given y, a lower bound of log p(x, y), for every y; in nats.

    With `beta` or `free_bits`, see `elbo`, what is maximised in its place.
    """
    classes = parts.num_classes

    def one(y):
        functions = make_functions(parts, params, jnp.full(len(u), y))
        value, _ = elbo(
            key,
            functions.encode,
            functions.decode,
            u,
            likelihood=functions.likelihood,
            prior=functions.prior,
            num_samples=parts.options.num_samples,
            kl=parts.options.kl,
            beta=beta,
            free_bits=free_bits,
            encoder_input=functions.inputs(u),
        )
        return value - jnp.log(classes)

    return jax.lax.map(one, jnp.arange(classes)).T


def semi_supervised_loss(
    joint: Float[Array, "B C"],
    logits: Float[Array, "B C"],
    label: Int[Array, "B"],
    weight: float | Float[Array, ""],
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """The loss per example from bounds of log p(x, y) and the classifier's logits: (loss, aux).

    A label of C is not known; others out of range give NaN.
    """
    log_q, classes = jax.nn.log_softmax(logits), joint.shape[1]
    known = label != classes
    at = lambda values: entry_of(values, jnp.where(known, label, 0))
    unlabelled = -jnp.sum(jnp.exp(log_q) * (joint - log_q), 1)
    labelled = -at(joint) - weight * at(log_q)
    right = known & (jnp.argmax(logits, 1) == label)
    aux = {"bound": jnp.where(known, at(joint), -unlabelled), "right": right, "known": known}
    return jnp.where(known, labelled, unlabelled), aux


def _labels_of(parts: Parts, batch: Batch) -> Int[Array, "B"]:
    """Labels of a batch, C where they are not known."""
    condition: Any = parts.options.condition
    return condition.of_batch(batch, unlabelled=True)


def _logits(parts: Parts, params: dict[str, Any], u: Num[Array, "B ..."]) -> Float[Array, "B C"]:
    """log q(y | x) up to a constant."""
    inputs = parts.likelihood.network_input(u).reshape(len(u), -1)
    out: Any = parts.classifier.apply(params["classifier"], inputs)
    return check_output("classifier", out, (len(u), parts.num_classes))


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> SemiState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    key_encode, key_params, key_classifier = jax.random.split(key, 3)
    u = to_values(parts, key_encode, batch["x"])
    inputs = parts.likelihood.network_input(u).reshape(len(u), -1)
    label = jnp.minimum(_labels_of(parts, batch), parts.num_classes - 1)
    params = {
        "coder": init_params(parts, key_params, u, label),
        "classifier": parts.classifier.init(key_classifier, inputs[:1]),
    }
    return SemiState(params, start_moments(parts.optimizer, params), jnp.int32(0))


def step(
    parts: Parts, key: Key[Array, ""], state: SemiState, batch: Batch
) -> tuple[SemiState, Metrics]:
    """One update of coder and classifier."""
    options = parts.options
    key_encode, key_draw = jax.random.split(key)
    u, keys = to_values(parts, key_encode, batch["x"]), sample_keys(key_draw, len(batch["x"]))
    labels = _labels_of(parts, batch)
    beta = options.beta * warm_up(state.step, options.warm_up)

    def loss(params):
        joint = bounds_of_labels(keys, parts, params["coder"], u, beta, options.free_bits)
        each, aux = semi_supervised_loss(joint, _logits(parts, params, u), labels, options.weight)
        accuracy = jnp.sum(aux["right"]) / jnp.maximum(jnp.sum(aux["known"]), 1)
        return each, {"bound": aux["bound"], "accuracy": accuracy}

    params, memory, metrics = optimizer_step(loss, parts.optimizer, state.params, state.optimizer)
    return SemiState(params, memory, state.step + 1), metrics


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: SemiState,
    n: int,
    *,
    mean: bool = False,
    **conditions: Any,
) -> Array:
    """Samples [n, ...] in data units; with `mean` E[x | y, z] instead of draws of x."""
    label = value_of(parts.options.condition, conditions, n)
    return draw_from(parts, state.params["coder"], sample_keys(key, n), label, mean)


def log_prob(
    parts: Parts, key: Key[Array, "*batch"], state: SemiState, x: Any, **conditions: Any
) -> Float[Array, "B"]:
    """The bound -U(x) of log p(x), or L's of log p(x | label), [B] in nats."""
    keys, label = sample_keys(key, len(x)), value_of(parts.options.condition, conditions, len(x))
    u = to_values(parts, fold_in(keys, 0), x)
    joint = bounds_of_labels(fold_in(keys, 1), parts, state.params["coder"], u)
    if label is None:
        unknown = jnp.full(len(u), parts.num_classes)
        bound = -semi_supervised_loss(joint, _logits(parts, state.params, u), unknown, 0.0)[0]
    else:
        bound = entry_of(joint, label) + jnp.log(parts.num_classes)
    return log_det(parts.options, u) + bound


def make_semi_parts(
    encoder: Network,
    decoder: Network,
    classifier: Network,
    optimizer: optax.GradientTransformation,
    options: Options,
) -> Parts:
    """The parts of a semi-supervised VAE. Raises ConfigError for what does not fit together."""
    parts = networks_and_laws(encoder, decoder, optimizer, options)
    readers = {name: variant.reads for name, variant in VARIANTS.items()}
    refuse_unread(options, "semi_supervised", READS, readers)
    if parts.num_classes < 2:
        raise ConfigError(f"condition={options.condition} must be labels(K) with K of 2 or more")
    return parts._replace(classifier=check_factory("classifier", classifier)(parts.num_classes))


def model_from_semi_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_semi_parts` has checked."""
    model = assemble(parts, init_state, step, draw_samples, log_prob, "lower bound")
    encode = partial(to_values, parts)
    return compiled(model, condition=parts.options.condition, encode=encode)


@no_type_check
def semi_supervised(
    encoder: Network,
    decoder: Network,
    classifier: Network,
    optimizer: optax.GradientTransformation,
    *,
    weight: float = 10.0,
    **options,
) -> GenerativeModel:
    """A VAE of labelled and unlabelled examples; `options` are the fields of `vae.Options`.

    Args:
      classifier: number of classes -> network from vectors to logits, q(y | x).
      weight: of the cross-entropy on labelled examples.
      options: `condition` must be `conditions.labels(K)`.
    `sample` takes `label` [n], drawn evenly if not given. `log_prob` is the bound -U(x), or with
    labels that of log p(x | label). The guesses are `label_logits`. Raises ConfigError for values
    out of range, and for evaluation_samples, which the bound does not use.
    """
    made = options_from(Options, {"weight": weight, **options})
    return model_from_semi_parts(make_semi_parts(encoder, decoder, classifier, optimizer, made))


def label_logits(model: GenerativeModel, state: State, x: Data) -> Float[Array, "B C"]:
    """log q(y | x) up to a constant, of x in data units, by a trained `semi_supervised` model."""
    parts, own = parts_of(model, state, Parts)
    if parts.classifier is None:
        raise ConfigError("model has no classifier: only semi_supervised gives logits of labels")
    return _logits(parts, own.params, values(model, state, x))
