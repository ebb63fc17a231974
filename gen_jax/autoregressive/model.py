"""Autoregressive models as a `GenerativeModel`: maximum likelihood, exact log p, one loop."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.decoding import ANCESTRAL, Decoding, checked, generate
from gen_jax.autoregressive.factorisation import Factorisation, full_pass
from gen_jax.autoregressive.likelihoods import Likelihood
from gen_jax.checks import check_output, is_known, no_type_check
from gen_jax.conditions import batch_labels, checked_labels
from gen_jax.data_units import check_data, log_det, to_data, to_model
from gen_jax.errors import ConfigError, DataError, check_range, check_shape
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Key, Metrics, Num


class Settings(NamedTuple):
    """What the constructors of this package share.

    Fields:
      shape: of one example after the transform.
      num_classes: 0, or the number of labels; batches then need "y".
      label_dropout: probability of replacing a label by num_classes, "no label".
      ema_decay: of the parameters' moving average, which samples; smaller in the first steps.
      transform: `data.Transform` between data units and the likelihood's values, or None.
      dropout: whether the network has some to turn on in training.
    """

    shape: tuple[int, ...]
    num_classes: int = 0
    label_dropout: float = 0.1
    ema_decay: float = 0.999
    transform: Any = None
    dropout: bool = False


def check_settings(settings: Settings) -> None:
    """Raise ConfigError for values out of range."""
    check_range("num_classes", settings.num_classes, 0, integer=True)
    check_range("label_dropout", settings.label_dropout, 0, 1)
    check_range("ema_decay", settings.ema_decay, 0, 1)
    check_shape("shape", settings.shape)


def check_values(likelihood: Likelihood, u: Array) -> None:
    """Raise DataError for known values that a discrete likelihood gives no probability."""
    if likelihood.levels == 0 or not is_known(u) or u.size == 0:
        return
    low, high = int(np.asarray(u).min()), int(np.asarray(u).max())
    if low < 0 or high >= likelihood.levels:
        raise DataError(
            f"data in [{low}, {high}] for a model of values in [0, {likelihood.levels - 1}]"
        )


class Assembly(NamedTuple):
    """The parts of a model."""

    factorisation: Factorisation
    likelihood: Likelihood
    optimizer: optax.GradientTransformation
    settings: Settings

    def encode(self, key: Key[Array, "*batch"], x: Any) -> Array:
        """Data units to units [B, N, E]. Raises ConfigError or DataError if they do not fit."""
        u = to_model(self.settings, key, jnp.asarray(x))
        check_values(self.likelihood, u)
        return u.reshape(u.shape[0], -1, self.likelihood.event)

    def log_units(self, params: Any, u: Array, label: Array | None, k, **training) -> Array:
        """log p of every unit given those before it in ordering k, [B, N]."""
        raw = self.factorisation.raw(params, u, label, k, **training)
        check_output("network", raw, (*u.shape[:2], self.likelihood.size))
        return check_output("likelihood.log_prob", self.likelihood.log_prob(u, raw), u.shape[:2])


def training_loss(
    params: Any, key: Key[Array, ""], batch, a: Assembly
) -> tuple[Float[Array, "B"], Metrics]:
    """-log p in nats for one ordering drawn at random."""
    key_encode, key_label, key_order, key_dropout = jax.random.split(key, 4)
    u = a.encode(key_encode, batch["x"])
    label = None
    if a.settings.num_classes:
        kept = jax.random.bernoulli(key_label, 1 - a.settings.label_dropout, u.shape[:1])
        y = batch_labels(batch, a.settings.num_classes)
        label = jnp.where(kept, y, a.settings.num_classes)
    k = jax.random.randint(key_order, (), 0, len(a.factorisation.orders))
    training: dict[str, Any] = {}
    if a.settings.dropout:
        training = {"deterministic": False, "rngs": {"dropout": key_dropout}}
    nats = -a.log_units(params, u, label, k, **training).sum(-1)
    return nats, {"bits_per_dim": nats / (u[0].size * np.log(2))}


def init_state(key: Key[Array, ""], batch, a: Assembly) -> AveragedState:
    """Fresh state; raises ConfigError or DataError when the batch does not fit the model."""
    batch_labels(batch, a.settings.num_classes)
    check_data(a.settings, batch["x"], partial(check_values, a.likelihood))
    label = jnp.zeros(1, jnp.int32) if a.settings.num_classes else None
    return init_state_with_ema(a.factorisation.init(key, label), a.optimizer)


def log_prob(
    key: Key[Array, ""], state: AveragedState, x: Any, a: Assembly, label=None
) -> Float[Array, "B"]:
    """log p(x) in nats and data units, exact; of several orderings the mean of their p."""
    u = a.encode(key, x)
    labels = checked_labels(label, len(u), a.settings.num_classes)
    orders = range(len(a.factorisation.orders))
    terms = jnp.stack([a.log_units(state.ema, u, labels, k).sum(-1) for k in orders])
    total = jax.nn.logsumexp(terms, axis=0) - np.log(len(orders))
    return total + log_det(a.settings, u.reshape(len(u), *a.settings.shape))


def in_order(
    keys: Key[Array, "n"], params: Any, a: Assembly, k: int, label, decoding, prompt, cached: bool
) -> Num[Array, "n N E"]:
    """Samples of ordering k, in natural places."""
    f, event = a.factorisation, a.likelihood.event
    num, order = f.orders.shape[1], f.orders[k]
    dtype = jnp.int32 if a.likelihood.levels else jnp.float32
    if cached and f.decoder is not None:
        decoder = f.decoder(params, label, k)
    else:
        decoder = full_pass(f, params, label, k, (num, event), dtype)
    given = None if prompt is None else prompt.reshape(len(prompt), -1, event)
    values = generate(keys, decoder, a.likelihood.sample, num, event, decoding, given, dtype)
    return values[:, np.argsort(order)]


def draw_samples(
    key: Key[Array, "*batch"],
    state: AveragedState,
    n: int,
    a: Assembly,
    decoding: Decoding = ANCESTRAL,
    label: Any = None,
    prompt: Num[Array, "..."] | None = None,
    cached: bool = True,
) -> Num[Array, "n ..."]:
    """Samples [n, ...] in data units.

    Args:
      label: one class or n of them, for a class-conditional model.
      prompt: the first values of every sample in the order of generation, [L] or [n, L], as the
        likelihood has them.
      cached: False computes the whole network for each value.
    Raises ConfigError for values out of range, and for a prompt longer than an example.
    """
    checked(decoding)
    labels = checked_labels(label, n, a.settings.num_classes)
    prompt = checked_prompt(prompt, n, a)
    keys, orders = sample_keys(key, n), a.factorisation.orders
    u = in_order(keys, state.ema, a, 0, labels, decoding, prompt, cached)
    if len(orders) > 1:
        name = jax.vmap(lambda key: jax.random.fold_in(key, 0x6F726465))(keys)
        chosen = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(orders)))(name)
        for k in range(1, len(orders)):
            other = in_order(keys, state.ema, a, k, labels, decoding, prompt, cached)
            u = jnp.where((chosen == k)[:, None, None], other, u)
    return to_data(a.settings, u)


def checked_prompt(prompt: Any, n: int, a: Assembly) -> Array | None:
    """Values [n, L] or None. Raises ConfigError when they are too many or do not fit."""
    if prompt is None:
        return None
    total, event = int(np.prod(a.settings.shape)), a.likelihood.event
    prompt = jnp.asarray(prompt)
    if prompt.ndim not in (1, 2) or prompt.shape[:-1] not in ((), (n,)):
        raise ConfigError(f"prompt of shape {prompt.shape}, must be [L] or [{n}, L]")
    if prompt.shape[-1] > total:
        raise ConfigError(
            f"prompt of {prompt.shape[-1]} values is longer than the context, {total}"
        )
    if prompt.shape[-1] % event:
        raise ConfigError(f"prompt of {prompt.shape[-1]} values must be a multiple of {event}")
    if a.settings.transform is None:
        check_values(a.likelihood, prompt)
    return jnp.broadcast_to(prompt, (n, prompt.shape[-1]))


@no_type_check
def autoregressive(
    factorisation: Factorisation,
    likelihood: Likelihood,
    optimizer: optax.GradientTransformation,
    settings: Settings,
) -> GenerativeModel:
    """Any factorisation with any likelihood; `sample` takes the fields of `Decoding`, a prompt, and
    `label` when there are classes: see `draw_samples`.

    Raises ConfigError for settings out of range.
    """
    check_settings(settings)
    a = Assembly(factorisation, likelihood, optimizer, settings)

    def step(key, state, batch):
        loss = lambda params: training_loss(params, key, batch, a)
        return optimizer_step_with_ema(loss, a.optimizer, settings.ema_decay, state)

    # What a model takes is read from its signature: a label only when there are classes.
    def sample(key, state, n, *, temperature=1.0, top_k=None, top_p=1.0, prompt=None, cached=True):
        decoding = Decoding(temperature, top_k, top_p)
        return draw_samples(key, state, n, a, decoding, None, prompt, cached)

    def sample_class(
        key,
        state,
        n,
        *,
        label=None,
        temperature=1.0,
        top_k=None,
        top_p=1.0,
        prompt=None,
        cached=True,
    ):
        decoding = Decoding(temperature, top_k, top_p)
        return draw_samples(key, state, n, a, decoding, label, prompt, cached)

    def log_prob_(key, state, x, *, label=None):
        return log_prob(key, state, x, a, label)

    model = GenerativeModel(
        init=lambda key, batch: init_state(key, batch, a),
        step=step,
        sample=sample_class if settings.num_classes else sample,
        log_prob=log_prob_,
        log_prob_kind="exact",
    )
    label = partial(checked_labels, num_classes=settings.num_classes)
    prompt = lambda prompt, n: checked_prompt(prompt, n, a)
    return compiled(model, per_sample={"label": label, "prompt": prompt}, encode=a.encode)
