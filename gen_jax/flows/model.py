"""A normalizing flow as a `GenerativeModel`: exact maximum likelihood."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.errors import ConfigError, check_range
from gen_jax.flows import density
from gen_jax.flows.bijector import Layer, Shape, start_from_data
from gen_jax.flows.dequantization import dequantize_with
from gen_jax.flows.likelihood_model import average_over, descend, first_state, hide_some, one_hot
from gen_jax.model import GenerativeModel, fold_in, sample_keys


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
    `init` sets the actnorms from the batch. `sample(key, state, n, label=None, temperature=1.0)`;
    `log_prob(key, state, x, label=None, draws=1)`. For dequantised images the mean of log_prob over
    its noise is a lower bound on log P(x), and `draws` > 1 tightens it; with a dequantizer it is
    called that. Raises ConfigError for what does not fit.
    """
    check_range("num_classes", num_classes, 0, integer=True)
    check_range("label_dropout", label_dropout, 0, 1)
    check_range("ema_decay", ema_decay, 0, 1)
    size: Shape = shape[0] if len(shape) == 1 else tuple(shape)
    base = layer.base_shape(size)

    def to_units(params, keys, x):
        """x in the flow's units, and what log p gains by the way there, [B] nats."""
        x = jnp.asarray(x)
        gain = jnp.zeros(len(x))
        if dequantizer is not None:
            x, log_q = dequantize_with(dequantizer, params["noise"], fold_in(keys, 0), x)
            gain = -log_q
        if transform is None:
            return x, gain
        u = transform.encode(fold_in(keys, 1), x)
        return u, gain + transform.log_det(u)

    def score(params, keys, x, told):
        u, gain = to_units(params, keys, x)
        return density.log_density(layer.bijector(params["flow"], told), u) + gain

    def init(key, batch):
        key_flow, key_noise, key_data = jax.random.split(key, 3)
        if num_classes and "y" not in batch:
            raise ConfigError(f"num_classes={num_classes}, but the data has no labels")
        if batch["x"].shape[1:] != tuple(shape):
            raise ConfigError(f"data of shape {batch['x'].shape[1:]} does not fit shape={shape}")
        params = {"flow": layer.init(key_flow, size, num_classes)}
        if dequantizer is not None:
            params["noise"] = dequantizer.init(key_noise, size, shape[-1])
        u, _ = to_units(params, sample_keys(key_data, len(batch["x"])), batch["x"])
        told = one_hot(batch.get("y") if num_classes else None, len(u), num_classes)
        params["flow"] = start_from_data(layer, params["flow"], u, told)
        return first_state(params, optimizer)

    def loss(params, key, batch):
        key_noise, key_drop = jax.random.split(key)
        n = len(batch["x"])
        told = one_hot(batch["y"] if num_classes else None, n, num_classes)
        told = hide_some(key_drop, told, label_dropout)
        return -score(params, sample_keys(key_noise, n), batch["x"], told), {}

    def step(key, state, batch):
        return descend(loss, optimizer, ema_decay, key, state, batch)

    def sample(key, state, n, *, label=None, temperature=1.0):
        told = one_hot(label, n, num_classes)
        bijector = layer.bijector(state.ema["flow"], told)
        u, _ = density.sample(key, bijector, n, base, temperature=temperature)
        if dequantizer is not None:
            u = u if transform is None else transform.decode(u)
            return jnp.clip(jnp.floor(256 * u), 0, 255).astype(jnp.uint8)
        return u if transform is None else transform.decode(u)

    def log_prob(key, state, x, *, label=None, draws=1):
        told = one_hot(label, len(x), num_classes)
        one = lambda keys: score(state.ema, keys, x, told)
        return average_over(one, key, len(x), draws)

    kind = "exact" if dequantizer is None else "lower bound"
    return GenerativeModel(init, step, sample, log_prob, kind)
