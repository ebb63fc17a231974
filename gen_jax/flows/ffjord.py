"""FFJORD (grathwohl2019) as a `GenerativeModel`, with the regularisers of finlay2020."""

import math
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check, not_negative
from gen_jax.conditions import Labels
from gen_jax.data_units import DEQUANTIZED, check_real, log_det, to_model_floats
from gen_jax.data_units import to_data as to_data_units
from gen_jax.errors import check_choice, check_shape
from gen_jax.flows.bijector import Bijector, with_condition
from gen_jax.flows.continuous import Field, Solution, solver_bijector, to_base, to_data
from gen_jax.flows.density import log_base
from gen_jax.flows.likelihood_model import (
    average_over,
    check_batch,
    check_training,
    hidden_rows,
    sampled_rows,
)
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.nets import Feedforward
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.ranges import Count, Range, Share, Weight, options_from
from gen_jax.solvers.divergence import DIVERGENCES, MOST_EXACT
from gen_jax.solvers.ode import TABLEAUS
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, State


class Options(NamedTuple):
    """Options of `ffjord`.

    Fields:
      shape: of one example after the transform.
      hidden: widths of the field's network.
      num_steps, method, divergence: of the solver in training; see `continuous.to_base`.
      kinetic, jacobian: weights of the integrals of |f|^2 and |df/dx|^2 in the loss.
      transform, condition, condition_dropout, ema_decay: as of `flow`.
    """

    shape: tuple[int, ...]
    hidden: Annotated[tuple[int, ...], Range(1, entries=0)] = (64, 64, 64)
    num_steps: Count = 8
    method: str = "rk4"
    divergence: str = "hutchinson"
    kinetic: Weight = 0.0
    jacobian: Weight = 0.0
    transform: Any = None
    condition: Labels | None = None
    condition_dropout: Share = 0.1
    ema_decay: Share = 0.999


class Parts(NamedTuple):
    """What the samples, densities and the bijector of an FFJORD are made of."""

    network: Feedforward
    optimizer: optax.GradientTransformation
    options: Options

    def bijector(self, params: State, rows: Array | None) -> Bijector:
        """Between the base and the flow's units, by twice the steps of training."""
        o = self.options
        field = network_field(self.network, params, rows)
        return solver_bijector(field, num_steps=2 * o.num_steps, method=o.method)


@no_type_check
def make_parts(optimizer: optax.GradientTransformation, options: Options) -> Parts:
    """The parts of a model. Raises ConfigError for unknown names and values out of range."""
    check_shape("shape", options.shape)
    check_training(options)
    check_choice("method", options.method, TABLEAUS)
    check_choice("divergence", options.divergence, DIVERGENCES)
    return Parts(Feedforward(math.prod(options.shape), options.hidden), optimizer, options)


def network_field(network: Any, params: State, condition: Array | None) -> Field:
    """f(x, t) = network([x, t, condition]) of a network of vectors; x is flattened for it."""

    def field(x, t):
        time = jnp.broadcast_to(jnp.asarray(t, x.dtype), (len(x), 1))
        flat = jnp.concatenate([x.reshape(len(x), -1), time], -1)
        return network.apply(params, with_condition(flat, condition)).reshape(x.shape)

    return field


def solve(
    parts: Parts, params: State, keys: Key[Array, "B"], x: Array, rows: Array | None, **solver: Any
) -> tuple[Solution, Float[Array, "B"]]:
    """Where x goes, and log p(x) in data units."""
    options = parts.options
    u = to_model_floats(options, fold_in(keys, 0), x)
    draw = lambda key: jax.random.rademacher(key, u.shape[1:], u.dtype)
    probe = jax.vmap(draw)(fold_in(keys, 1))
    way = to_base(
        network_field(parts.network, params, rows), u, probe, method=options.method, **solver
    )
    return way, log_base(way.z) + way.log_det + log_det(options, u)


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> AveragedState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    options = parts.options
    check_real(options, batch["x"], DEQUANTIZED)
    check_batch(options, batch, options.transform)
    classes = 0 if options.condition is None else options.condition.num_classes
    params = parts.network.init(key, jnp.zeros((1, math.prod(options.shape) + 1 + classes)))
    return init_state_with_ema(params, parts.optimizer)


def training_loss(
    parts: Parts, params: State, key: Key[Array, ""], batch: Batch
) -> tuple[Float[Array, "B"], Metrics]:
    """-log p and the regularisers, with one probe for each example."""
    o = parts.options
    key_way, key_drop = jax.random.split(key)
    way, log_p = solve(
        parts,
        params,
        sample_keys(key_way, len(batch["x"])),
        batch["x"],
        hidden_rows(key_drop, o, batch),
        num_steps=o.num_steps,
        divergence=o.divergence,
        regularised=bool(o.kinetic or o.jacobian),
    )
    metrics = {"log_prob": log_p, "kinetic": way.kinetic, "jacobian": way.jacobian}
    return o.kinetic * way.kinetic + o.jacobian * way.jacobian - log_p, metrics


def step(
    parts: Parts, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    """One update on the loss, and one of the moving average."""
    loss = lambda params: training_loss(parts, params, key, batch)
    return optimizer_step_with_ema(loss, parts.optimizer, parts.options.ema_decay, state)


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    n: int,
    *,
    temperature: float | Float[Array, ""] = 1.0,
    **conditions: Any,
) -> Array:
    """Samples [n, ...] in data units; `temperature` is the standard deviation of the base."""
    o, keys = parts.options, sample_keys(key, n)
    field = network_field(parts.network, state.ema, sampled_rows(o, conditions, keys))
    z = temperature * normal(keys, tuple(o.shape))
    return to_data_units(o, to_data(field, z, num_steps=o.num_steps, method=o.method))


def log_prob(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    x: Array,
    *,
    divergence: str | None = None,
    num_steps: int | Int[Array, ""] | None = None,
    draws: int = 1,
    **conditions: Any,
) -> Float[Array, "B"]:
    """An estimate of log p(x) [B] in nats and data units; of dequantised images of a lower bound.

    Args:
      divergence: by default exact up to MOST_EXACT dimensions.
      num_steps: by default twice as many as in training; an array as in `ode_log_prob`.
      draws: of the dequantisation noise and the probe, see `average_over`.
    """
    best = "exact" if math.prod(parts.options.shape) <= MOST_EXACT else "hutchinson"
    solver = {
        "divergence": best if divergence is None else divergence,
        "num_steps": 2 * parts.options.num_steps if num_steps is None else num_steps,
    }
    one = lambda keys, rows: solve(parts, state.ema, keys, x, rows, **solver)[1]
    return average_over(parts.options, conditions, one, key, len(x), draws)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    options = parts.options
    model = assemble(parts, init_state, step, draw_samples, log_prob, "estimate")
    return compiled(
        model,
        condition=options.condition,
        shared={"temperature": partial(not_negative, "temperature")},
        encode=options.transform.encode if options.transform is not None else None,
    )


@no_type_check
def ffjord(optimizer: optax.GradientTransformation, **options) -> GenerativeModel:
    """A continuous flow fitted by maximum likelihood; `options` are the fields of `Options`.

    `sample` takes the arguments of `draw_samples`, `log_prob` those of its function here, and both
    the label where there is a condition. Raises ConfigError for unknown names and values out of
    range.
    """
    return model_from_parts(make_parts(optimizer, options_from(Options, options)))
