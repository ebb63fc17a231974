"""A normalizing flow as a `GenerativeModel`: maximum likelihood."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import as_floats, no_type_check
from gen_jax.conditions import batch_labels, checked_labels
from gen_jax.data_units import density_kind
from gen_jax.errors import ConfigError, check_finite, check_range, check_shape
from gen_jax.flows import density
from gen_jax.flows.bijector import Guided, Layer, Shape, start_from_data
from gen_jax.flows.dequantization import dequantize_with, to_levels
from gen_jax.flows.likelihood_model import (
    average_over,
    check_batch,
    condition_of,
    drop_labels,
)
from gen_jax.flows.tarflow import denoise
from gen_jax.model import GenerativeModel, compiled, one_or_each
from gen_jax.optimization import init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.types import Array, Float, Key, State


class Parts(NamedTuple):
    """What a flow's samples and densities are made of; see `flow`."""

    layer: Layer
    shape: Shape
    transform: Any
    dequantizer: Layer | None

    def to_units(self, params: State, keys: Key[Array, "B"], x: Array) -> tuple[Array, Array]:
        """x in the flow's units, and what log p gains by the way there, [B] nats."""
        gain = jnp.zeros(len(x))
        if self.dequantizer is not None:
            x, log_q = dequantize_with(self.dequantizer, params["noise"], fold_in(keys, 0), x)
            gain = -log_q
        if self.transform is None:
            return as_floats("x", x), gain
        u = self.transform.encode(fold_in(keys, 1), x)
        return u, gain + self.transform.log_det(u)

    def to_data(self, u: Float[Array, "B ..."]) -> Array:
        """The flow's units to data units."""
        x = u if self.transform is None else self.transform.decode(u)
        return x if self.dequantizer is None else to_levels(x)

    def score(
        self,
        params: State,
        keys: Key[Array, "B"],
        x: Array,
        condition: Array | None,
        noise: float = 0.0,
    ) -> Float[Array, "B"]:
        """log p(x) in nats and data units; of x with noise in the flow's units, if there is."""
        u, gain = self.to_units(params, keys, jnp.asarray(x))
        if noise:
            u = u + noise * normal(fold_in(keys, 2), u.shape[1:])
        return density.log_density(self.layer.bijector(params["flow"], condition), u) + gain

    def draw(
        self, key: Key[Array, "*batch"], params: State, n: int, condition: Any, temperature: Any
    ) -> Float[Array, "n ..."]:
        """n samples in the flow's units."""
        base = self.layer.base_shape(self.shape)
        bijector = self.layer.bijector(params["flow"], condition)
        return density.sample(key, bijector, n, base, temperature=temperature)[0]


@no_type_check
def flow(
    layer: Layer,
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    transform: Any = None,
    num_classes: int = 0,
    label_dropout: float = 0.1,
    ema_decay: float = 0.999,
    dequantizer: Layer | None = None,
    noise: float = 0.0,
) -> GenerativeModel:
    """A flow fitted by maximum likelihood; each step draws its dequantisation noise anew.

    Args:
      shape: of one example, [D] or [H, W, C]; the same before and after the transform.
      transform: `data.Transform` between data units and the flow's, or None. With a dequantizer:
        what follows it, between pixels in [0, 1] and the flow's units.
      num_classes: 0, or the number of labels that condition the flow; batches then need "y".
      label_dropout: share of labels hidden in training, so that label=None is the plain density.
      ema_decay: of the parameters' moving average, which samples and scores.
      dequantizer: flow of the noise (`noise_flow`), trained with the other; None for none.
      noise: standard deviation of Gaussian noise added in training, in the flow's units (TarFlow).
    `init` sets the actnorms from the batch. `sample(key, state, n, temperature=1.0)` takes `label`
    where there are classes; with noise > 0 also `denoised=True`, which takes the noise off the
    samples, and with classes `guidance` (1 is none). `log_prob(key, state, x, label=None, draws=1)`
    is exact for data that are real numbers. Of images dequantised by the transform or by the
    dequantizer, its mean over their noise is a lower bound on log P(x), which `draws` > 1 tightens;
    `log_prob_kind` says which. Raises ConfigError for what does not fit.
    """
    check_range("num_classes", num_classes, 0, integer=True)
    check_range("label_dropout", label_dropout, 0, 1)
    check_range("ema_decay", ema_decay, 0, 1)
    check_range("noise", noise, 0)
    check_shape("shape", shape)
    size: Shape = shape[0] if len(shape) == 1 else tuple(shape)
    parts = Parts(layer, size, transform, dequantizer)

    def init(key, batch):
        check_batch(batch, shape, num_classes, None if dequantizer else transform)
        key_flow, key_noise, key_data = jax.random.split(key, 3)
        params = {"flow": layer.init(key_flow, size, num_classes)}
        if dequantizer is not None:
            params["noise"] = dequantizer.init(key_noise, size, shape[-1])
        n = len(batch["x"])
        u, _ = parts.to_units(params, sample_keys(key_data, n), jnp.asarray(batch["x"]))
        condition = condition_of(batch_labels(batch, num_classes), n, num_classes)
        params["flow"] = start_from_data(layer, params["flow"], u, condition)
        return init_state_with_ema(params, optimizer)

    def loss(params, key, batch):
        key_noise, key_drop = jax.random.split(key)
        n = len(batch["x"])
        condition = condition_of(batch_labels(batch, num_classes), n, num_classes)
        condition = drop_labels(key_drop, condition, label_dropout)
        return -parts.score(params, sample_keys(key_noise, n), batch["x"], condition, noise), {}

    def step(key, state, batch):
        return optimizer_step_with_ema(lambda p: loss(p, key, batch), optimizer, ema_decay, state)

    def sample(key, state, n, label=None, temperature=1.0, guidance=1.0, denoised=True):
        condition = condition_of(label, n, num_classes)
        check_finite("temperature", temperature)
        check_finite("guidance", guidance)
        guided: Array | Guided | None = condition
        if not (isinstance(guidance, int | float) and guidance == 1):
            if condition is None or label is None:
                raise ConfigError(f"guidance={guidance} needs label")
            guided = Guided(condition, guidance)
        u = parts.draw(key, state.ema, n, guided, temperature)
        if noise and denoised:
            u = denoise(layer.bijector(state.ema["flow"], condition), u, noise)
        return parts.to_data(u)

    def log_prob(key, state, x, *, label=None, draws=1):
        condition = condition_of(label, len(x), num_classes)
        one = lambda keys: parts.score(state.ema, keys, x, condition)
        return average_over(one, key, len(x), draws)

    kind = density_kind(parts.to_data, shape)
    offered = offer(sample, bool(num_classes), bool(noise))
    return compiled(
        GenerativeModel(init, step, offered, log_prob, kind),
        per_sample={
            "label": partial(checked_labels, num_classes=num_classes),
            "guidance": partial(one_or_each, "guidance"),
        },
        shared=("temperature",),
        encode=transform.encode if transform is not None and dequantizer is None else None,
    )


def offer(sample: Callable, labels: bool, noise: bool) -> Callable:
    """`sample` with those of its options that mean something to the model, by keyword."""
    if labels and noise:
        return lambda key, state, n, *, label=None, temperature=1.0, guidance=1.0, denoised=True: (
            sample(key, state, n, label, temperature, guidance, denoised)
        )
    if labels:
        return lambda key, state, n, *, label=None, temperature=1.0: sample(
            key, state, n, label, temperature
        )
    if noise:
        return lambda key, state, n, *, temperature=1.0, denoised=True: sample(
            key, state, n, None, temperature, denoised=denoised
        )
    return lambda key, state, n, *, temperature=1.0: sample(key, state, n, None, temperature)
