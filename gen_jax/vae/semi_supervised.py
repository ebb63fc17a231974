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

from gen_jax.checks import check_output, no_type_check
from gen_jax.conditions import batch_labels, checked_labels
from gen_jax.data_units import log_det
from gen_jax.errors import check_range
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import optimizer_step, start_moments
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Int, Key, Num
from gen_jax.vae.coder import (
    Network,
    Options,
    Parts,
    coder,
    encode_data,
    init_params,
    make_parts,
    network_inputs,
    refuse_unread,
)
from gen_jax.vae.elbo import elbo, warm_up
from gen_jax.vae.model import draw_samples
from gen_jax.vae.variants import VARIANTS

READS = ("prior", "num_samples", "kl", "beta", "warm_up", "free_bits", "weight")
"""Those of `coder.OPTIONAL` that have a meaning here."""


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
    classes = parts.options.num_classes

    def one(y):
        label = jnp.full(len(u), y)
        functions = coder(parts, params, label)
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
            encoder_input=network_inputs(parts, u, label),
        )
        return value - jnp.log(classes)

    return jax.lax.map(one, jnp.arange(classes)).T


def semi_supervised_loss(
    joint: Float[Array, "B C"],
    logits: Float[Array, "B C"],
    label: Int[Array, "B"],
    weight: float | Float[Array, ""],
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """The loss per example from bounds of log p(x, y) and the classifier's logits: (loss, aux)."""
    log_q, classes = jax.nn.log_softmax(logits), joint.shape[1]
    known = label < classes
    at = lambda values: jnp.take_along_axis(values, jnp.minimum(label, classes - 1)[:, None], 1)[
        :, 0
    ]
    unlabelled = -jnp.sum(jnp.exp(log_q) * (joint - log_q), 1)
    labelled = -at(joint) - weight * at(log_q)
    right = known & (jnp.argmax(logits, 1) == label)
    aux = {"bound": jnp.where(known, at(joint), -unlabelled), "right": right, "known": known}
    return jnp.where(known, labelled, unlabelled), aux


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
      classifier: number of classes -> Flax module from vectors to logits, q(y | x).
      weight: of the cross-entropy on labelled examples.
    `sample` takes `label` [n], drawn evenly if not given. `log_prob` is the bound -U(x). The
    guesses are `label_logits`. Raises ConfigError for values out of range, and for
    evaluation_samples, which the bound has no use for.
    """
    parts = make_parts(encoder, decoder, Options(**options))
    readers = {name: variant.reads for name, variant in VARIANTS.items()}
    refuse_unread(parts.options, "semi_supervised", READS, readers)
    check_range("num_classes", parts.options.num_classes, 2, integer=True)
    check_range("weight", weight, 0)
    network = classifier(parts.options.num_classes)

    def labels_of(batch):
        return batch_labels(batch, parts.options.num_classes, unlabelled=True)

    def init(key, batch):
        key_encode, key_params, key_classifier = jax.random.split(key, 3)
        u = encode_data(parts, key_encode, batch["x"])
        inputs = parts.likelihood.network_input(u).reshape(len(u), -1)
        label = jnp.minimum(labels_of(batch), parts.options.num_classes - 1)
        params = {
            "coder": init_params(parts, key_params, u, label),
            "classifier": network.init(key_classifier, inputs[:1]),
        }
        return SemiState(params, start_moments(optimizer, params), jnp.int32(0))

    def logits_of(params, u):
        inputs = parts.likelihood.network_input(u).reshape(len(u), -1)
        out: Any = network.apply(params["classifier"], inputs)
        return check_output("classifier", out, (len(u), parts.options.num_classes))

    def step(key, state, batch):
        key_encode, key_draw = jax.random.split(key)
        u, keys = encode_data(parts, key_encode, batch["x"]), sample_keys(key_draw, len(batch["x"]))
        labels = labels_of(batch)
        beta = parts.options.beta * warm_up(state.step, parts.options.warm_up)
        free_bits = parts.options.free_bits

        def loss(params):
            joint = bounds_of_labels(keys, parts, params["coder"], u, beta, free_bits)
            logits = logits_of(params, u)
            each, aux = semi_supervised_loss(joint, logits, labels, weight)
            accuracy = jnp.sum(aux["right"]) / jnp.maximum(jnp.sum(aux["known"]), 1)
            return each, {"bound": aux["bound"], "accuracy": accuracy}

        params, memory, metrics = optimizer_step(loss, optimizer, state.params, state.optimizer)
        return SemiState(params, memory, state.step + 1), metrics

    def sample(key, state, n, label=None, mean=False):
        label = checked_labels(label, n, parts.options.num_classes)
        return draw_samples(parts, state.params["coder"], sample_keys(key, n), label, mean)

    def log_prob(key, state, x):
        keys = sample_keys(key, len(x))
        u = encode_data(parts, fold_in(keys, 0), x)
        joint = bounds_of_labels(fold_in(keys, 1), parts, state.params["coder"], u)
        unknown = jnp.full(len(u), parts.options.num_classes)
        loss, _ = semi_supervised_loss(joint, logits_of(state.params, u), unknown, 0.0)
        return log_det(parts.options, u) - loss

    label = partial(checked_labels, num_classes=parts.options.num_classes)
    return compiled(
        GenerativeModel(init, step, sample, log_prob, "lower bound"),
        per_sample={"label": label},
        encode=partial(encode_data, parts),
    )


def label_logits(
    classifier: Network, state: SemiState, inputs: Float[Array, "B E"], classes: int
) -> Float[Array, "B C"]:
    """log q(y | x) up to a constant, of what the encoder would see of x."""
    out: Any = classifier(classes).apply(state.params["classifier"], inputs)
    return out
