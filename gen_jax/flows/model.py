"""A normalizing flow as a `GenerativeModel`: maximum likelihood."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import as_floats, no_type_check, not_negative, one_or_each
from gen_jax.condition_values import is_guided, value_of
from gen_jax.conditions import Labels
from gen_jax.data_units import DEQUANTIZED, check_real, density_kind
from gen_jax.errors import check_shape
from gen_jax.flows import density
from gen_jax.flows.bijector import Bijector, Guided, Layer, Shape, start_from_data
from gen_jax.flows.dequantization import dequantize_with, to_levels
from gen_jax.flows.likelihood_model import (
    average_over,
    batch_rows,
    check_batch,
    check_training,
    hidden_rows,
    sampled_rows,
)
from gen_jax.flows.tarflow import denoise
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.ranges import Share, Weight, options_from
from gen_jax.types import Array, Batch, Float, Key, Metrics, State


class Options(NamedTuple):
    """Options of `flow`.

    Fields:
      shape: of one example, [D] or [H, W, C]; the same before and after the transform.
      transform: `data.Transform` between data units and the flow's, or None. With a dequantizer:
        what follows it, between pixels in [0, 1] and the flow's units.
      condition: None, or `conditions.labels(K)`; the flow sees one-hot rows.
      condition_dropout: probability of hiding an example's label (a row of zeros) in training.
      ema_decay: of the parameters' moving average, which samples and scores.
      dequantizer: flow of the noise (`noise_flow`), trained with the other; None for none.
      noise: standard deviation of Gaussian noise added in training, in the flow's units (TarFlow).
    """

    shape: tuple[int, ...]
    transform: Any = None
    condition: Labels | None = None
    condition_dropout: Share = 0.1
    ema_decay: Share = 0.999
    dequantizer: Layer | None = None
    noise: Weight = 0.0


class Parts(NamedTuple):
    """What a flow's samples, densities and its bijector are made of; see `flow`."""

    layer: Layer
    optimizer: optax.GradientTransformation
    options: Options

    @property
    def size(self) -> Shape:
        """The shape as layers take it."""
        shape = self.options.shape
        return shape[0] if len(shape) == 1 else tuple(shape)

    @property
    def data_transform(self) -> Any:
        """The transform of the data themselves, which is none with a dequantizer."""
        return None if self.options.dequantizer else self.options.transform

    def bijector(self, params: State, rows: Array | Guided | None) -> Bijector:
        """Between the base and the flow's units."""
        return self.layer.bijector(params["flow"], rows)


@no_type_check
def make_parts(layer: Layer, optimizer: optax.GradientTransformation, options: Options) -> Parts:
    """The parts of a model. Raises ConfigError for values out of range."""
    check_training(options)
    check_shape("shape", options.shape)
    return Parts(layer, optimizer, options)


def to_units(
    parts: Parts, params: State, keys: Key[Array, "B"], x: Array
) -> tuple[Float[Array, "B ..."], Float[Array, "B"]]:
    """x in the flow's units, and what log p gains by the way there, [B] nats."""
    gain, transform = jnp.zeros(len(x)), parts.options.transform
    if parts.options.dequantizer is not None:
        layer, noise = parts.options.dequantizer, params["noise"]
        x, log_q = dequantize_with(layer, noise, fold_in(keys, 0), x)
        gain = -log_q
    if transform is None:
        return as_floats("x", x), gain
    u = transform.encode(fold_in(keys, 1), x)
    return u, gain + transform.log_det(u)


def to_data(options: Options, u: Float[Array, "B ..."]) -> Array:
    """The flow's units to data units."""
    x = u if options.transform is None else options.transform.decode(u)
    return x if options.dequantizer is None else to_levels(x)


def score(
    parts: Parts,
    params: State,
    keys: Key[Array, "B"],
    x: Array,
    rows: Float[Array, "B K"] | None,
    noise: float = 0.0,
) -> Float[Array, "B"]:
    """log p(x) in nats and data units; of x with noise in the flow's units, if there is."""
    u, gain = to_units(parts, params, keys, jnp.asarray(x))
    if noise:
        u = u + noise * normal(fold_in(keys, 2), u.shape[1:])
    return density.log_density(parts.bijector(params, rows), u) + gain


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> AveragedState:
    """Fresh state, its actnorms set from the batch; raises ConfigError when this does not fit."""
    options = parts.options
    if options.dequantizer is None:
        check_real(options, batch["x"], DEQUANTIZED)
    check_batch(options, batch, parts.data_transform)
    classes = 0 if options.condition is None else options.condition.num_classes
    key_flow, key_noise, key_data = jax.random.split(key, 3)
    params = {"flow": parts.layer.init(key_flow, parts.size, classes)}
    if options.dequantizer is not None:
        params["noise"] = options.dequantizer.init(key_noise, parts.size, options.shape[-1])
    keys = sample_keys(key_data, len(batch["x"]))
    u, _ = to_units(parts, params, keys, jnp.asarray(batch["x"]))
    rows = batch_rows(options, batch)
    params["flow"] = start_from_data(parts.layer, params["flow"], u, rows)
    return init_state_with_ema(params, parts.optimizer)


def step(
    parts: Parts, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    """One update on -log p, with fresh noise, and one of the moving average."""
    options = parts.options
    key_noise, key_drop = jax.random.split(key)
    keys, rows = sample_keys(key_noise, len(batch["x"])), hidden_rows(key_drop, options, batch)

    def loss(params: State) -> tuple[Float[Array, "B"], Metrics]:
        return -score(parts, params, keys, batch["x"], rows, options.noise), {}

    return optimizer_step_with_ema(loss, parts.optimizer, options.ema_decay, state)


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    n: int,
    *,
    temperature: float | Float[Array, ""] = 1.0,
    guidance: float | Array = 1.0,
    denoised: bool = True,
    **conditions: Any,
) -> Array:
    """Samples [n, ...] in data units.

    Args:
      temperature: standard deviation of the base.
      guidance: of TarFlow's layers by labels, 1 is none; one for all or one for each sample.
      denoised: whether the noise of training is taken off the samples.
    """
    options, keys = parts.options, sample_keys(key, n)
    rows = sampled_rows(options, conditions, keys)
    guided: Array | Guided | None = rows
    given = value_of(options.condition, conditions, n)
    if is_guided(guidance, options.condition, options.condition_dropout, given):
        assert rows is not None
        guided = Guided(rows, guidance)
    base, bijector = parts.layer.base_shape(parts.size), parts.bijector(state.ema, guided)
    u = density.sample(keys, bijector, n, base, temperature=temperature)[0]
    if options.noise and denoised:
        u = denoise(parts.bijector(state.ema, rows), u, options.noise)
    return to_data(options, u)


def log_prob(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    x: Array,
    *,
    draws: int = 1,
    **conditions: Any,
) -> Float[Array, "B"]:
    """log p(x) [B] in nats and data units, exact for data that are real numbers.

    Of images dequantised by the transform or by the dequantizer, its mean over their noise is a
    lower bound on log P(x), which `draws` > 1 tightens; `log_prob_kind` says which.
    """
    one = partial(score, parts, state.ema)
    average = lambda keys, rows: one(keys, x, rows)
    return average_over(parts.options, conditions, average, key, len(x), draws)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    options = parts.options
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        log_prob,
        density_kind(partial(to_data, options), options.shape),
    )
    unused = () if options.noise else ("guidance", "denoised")
    return compiled(
        model,
        condition=options.condition,
        per_sample={"guidance": partial(one_or_each, "guidance")},
        shared={"temperature": partial(not_negative, "temperature")},
        without=unused if options.condition is not None else (*unused, "guidance"),
        encode=None if parts.data_transform is None else parts.data_transform.encode,
    )


@no_type_check
def flow(layer: Layer, optimizer: optax.GradientTransformation, **options) -> GenerativeModel:
    """A flow fitted by maximum likelihood; each step draws its dequantisation noise anew.

    `options` are the fields of `Options`. `init` sets the actnorms from the batch. `sample` takes
    the arguments of `draw_samples` that mean something to the model, `log_prob` those of its
    function here, and both the label where there is a condition. Raises ConfigError for what does
    not fit.

    >>> import optax
    >>> from gen_jax import flows
    >>> couplings = flows.make_flow("realnvp", layers=4, hidden=(64, 64))
    >>> model = flows.flow(couplings, optax.adam(1e-3), shape=(2,))
    >>> model.log_prob_kind
    'exact'
    """
    return model_from_parts(make_parts(layer, optimizer, options_from(Options, options)))
