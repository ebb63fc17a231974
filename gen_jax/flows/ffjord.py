"""FFJORD (grathwohl2019) as a `GenerativeModel`, with the regularisers of finlay2020."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check
from gen_jax.conditions import batch_labels, checked_labels
from gen_jax.data_units import Units, to_model_floats
from gen_jax.errors import check_choice, check_finite, check_range, check_shape
from gen_jax.flows.bijector import with_condition
from gen_jax.flows.continuous import Field, to_base, to_data
from gen_jax.flows.density import log_base
from gen_jax.flows.likelihood_model import (
    average_over,
    check_batch,
    condition_of,
    drop_labels,
)
from gen_jax.flows.model import offer
from gen_jax.model import GenerativeModel, compiled
from gen_jax.nets import Feedforward
from gen_jax.optimization import init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.solvers.divergence import DIVERGENCES
from gen_jax.solvers.ode import TABLEAUS
from gen_jax.types import Array, State


def network_field(network: Any, params: State, condition: Array | None) -> Field:
    """f(x, t) = network([x, t, condition]) of a network of vectors; x is flattened for it."""

    def field(x, t):
        time = jnp.broadcast_to(jnp.asarray(t, x.dtype), (len(x), 1))
        flat = jnp.concatenate([x.reshape(len(x), -1), time], -1)
        return network.apply(params, with_condition(flat, condition)).reshape(x.shape)

    return field


@no_type_check
def ffjord(
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    hidden: tuple[int, ...] = (64, 64, 64),
    steps: int = 8,
    method: str = "rk4",
    divergence: str = "hutchinson",
    kinetic: float = 0.0,
    jacobian: float = 0.0,
    transform: Any = None,
    num_classes: int = 0,
    label_dropout: float = 0.1,
    ema_decay: float = 0.999,
) -> GenerativeModel:
    """A continuous flow fitted by maximum likelihood.

    Args:
      shape: of one example after the transform.
      hidden: widths of the field's network.
      steps, method, divergence: of the solver in training; see `continuous.to_base`.
      kinetic, jacobian: weights of the integrals of |f|^2 and |df/dx|^2 in the loss.
      transform, num_classes, label_dropout, ema_decay: as of `flow`.
    `sample(key, state, n, temperature=1.0)`, with `label` where there are classes; `log_prob(key,
    state, x, label=None, divergence, steps, draws=1)`, by default with twice the steps of training
    and the exact divergence up to 128 dimensions: an estimate of log p(x), of dequantised images of
    a lower bound on log P(x). Raises ConfigError for unknown names and values
    out of range.
    """
    check_shape("shape", shape)
    check_range("num_classes", num_classes, 0, integer=True)
    check_range("steps", steps, 1, integer=True)
    check_choice("method", method, TABLEAUS)
    check_choice("divergence", divergence, DIVERGENCES)
    for name, value in {"kinetic": kinetic, "jacobian": jacobian}.items():
        check_range(name, value, 0)
    for name, value in {"label_dropout": label_dropout, "ema_decay": ema_decay}.items():
        check_range(name, value, 0, 1)
    units = Units(tuple(shape), transform)
    network = Feedforward(math.prod(shape), hidden)
    best = "exact" if math.prod(shape) <= 128 else "hutchinson"

    def solve(params, keys, x, condition, **options):
        """Where x goes, and log p(x) in data units."""
        u = to_model_floats(units, fold_in(keys, 0), x)
        draw = lambda key: jax.random.rademacher(key, u.shape[1:], u.dtype)
        probe = jax.vmap(draw)(fold_in(keys, 1))
        field = network_field(network, params, condition)
        way = to_base(field, u, probe, method=method, **options)
        log_p = log_base(way.z) + way.log_det
        return way, log_p + (transform.log_det(u) if transform else 0)

    def init(key, batch):
        check_batch(batch, shape, num_classes, transform)
        params = network.init(key, jnp.zeros((1, math.prod(shape) + 1 + num_classes)))
        return init_state_with_ema(params, optimizer)

    def loss(params, key, batch):
        key_way, key_drop = jax.random.split(key)
        n = len(batch["x"])
        condition = condition_of(batch_labels(batch, num_classes), n, num_classes)
        condition = drop_labels(key_drop, condition, label_dropout)
        way, log_p = solve(
            params,
            sample_keys(key_way, n),
            batch["x"],
            condition,
            steps=steps,
            divergence=divergence,
            regularised=bool(kinetic or jacobian),
        )
        metrics = {"log_prob": log_p, "kinetic": way.kinetic, "jacobian": way.jacobian}
        return kinetic * way.kinetic + jacobian * way.jacobian - log_p, metrics

    def step(key, state, batch):
        return optimizer_step_with_ema(lambda p: loss(p, key, batch), optimizer, ema_decay, state)

    def sample(key, state, n, label=None, temperature=1.0):
        field = network_field(network, state.ema, condition_of(label, n, num_classes))
        check_finite("temperature", temperature)
        z = temperature * normal(sample_keys(key, n), tuple(shape))
        u = to_data(field, z, steps=steps, method=method)
        return transform.decode(u) if transform else u

    def log_prob(key, state, x, *, label=None, divergence=best, steps=2 * steps, draws=1):
        condition = condition_of(label, len(x), num_classes)
        options = {"divergence": divergence, "steps": steps}
        one = lambda keys: solve(state.ema, keys, x, condition, **options)[1]
        return average_over(one, key, len(x), draws)

    offered = offer(sample, bool(num_classes), False)
    return compiled(
        GenerativeModel(init, step, offered, log_prob, "estimate"),
        per_sample={"label": partial(checked_labels, num_classes=num_classes)},
        shared=("temperature",),
        encode=transform.encode if transform is not None else None,
    )
