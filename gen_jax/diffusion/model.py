"""Diffusion and flow-matching models: a network, a path and a loss as a `GenerativeModel`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import check_output, no_type_check, one_or_each
from gen_jax.conditions import check_null, drop
from gen_jax.data_units import check_data, check_scaled, to_model_floats
from gen_jax.diffusion.generate import draw_samples
from gen_jax.diffusion.generate import log_prob as _ode_log_prob
from gen_jax.diffusion.network import Preconditioned, predict, predict_both
from gen_jax.diffusion.options import Options, Parts, draw_source, make_parts
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.paths import GaussianPath
from gen_jax.randomness import sample_keys
from gen_jax.ranges import options_from
from gen_jax.types import Array, Batch, Float, Key, Metrics


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> AveragedState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    options, condition = parts.options, parts.options.condition
    if condition is not None:
        condition.of_batch(batch)
    if "x1" in batch:  # pairs in the path's units take the place of x
        check_data(options, batch["x"])
    else:
        check_scaled(options, batch["x"], options.data_std)
    null = None if condition is None else condition.null(1)
    noise = jax.eval_shape(partial(options.noise_input, parts.path), jnp.zeros(1))
    inputs = jnp.zeros((1, *options.shape)), jnp.zeros(noise.shape)
    check_null(parts.network, condition, batch, *inputs)
    params = parts.network.init(key, *inputs, null)
    return init_state_with_ema(params, parts.optimizer)


def training_loss(
    parts: Parts, p: Preconditioned, params: Any, key: Key[Array, ""], batch: Batch
) -> tuple[Float[Array, "B"], Metrics]:
    """The loss of a batch with its own times, noise, pairing and hidden conditions."""
    options = parts.options
    key_encode, key_time, key_noise, key_pair, key_drop = jax.random.split(key, 5)
    n = batch["x"].shape[0]
    x0, eps, value = data_and_noise(options, (key_encode, key_noise, key_pair), batch)
    if options.condition is not None:
        value = drop(key_drop, options.condition, value, options.condition_dropout, n)
    output = predict_both if p.learned_variance else predict
    steps = {"num_steps": options.variance_steps} if p.learned_variance else {}
    return options.loss(
        lambda x, t: output(p, params, x, t, value),
        p.path,
        x0,
        eps,
        check_output("time_density", options.time_density(key_time, p.path, n), (n,)),
        prediction=p.prediction,
        weighting=options.weighting,
        data_std=p.data_std,
        **steps,
    )


def data_and_noise(
    options: Options, keys: tuple[Array, Array, Array], batch: Batch
) -> tuple[Array, Array, Any]:
    """x0 and what the path mixes into it [B, *shape], paired as the options say or as the batch is;
    and the condition's value. The keys are of the transform, the noise and the coupling.
    """
    key_encode, key_noise, key_pair = keys
    value = None if options.condition is None else options.condition.of_batch(batch)
    if "x1" in batch:
        x0, x1 = own_pairs(options, batch)
    else:
        x0 = to_model_floats(options, key_encode, batch["x"])
        x1 = draw_source(options, sample_keys(key_noise, batch["x"].shape[0]), value)
    if options.coupling is not None:
        index = options.coupling(key_pair, x0, x1)
        shape, dtype = jnp.shape(index), jnp.result_type(index)
        if shape != x0.shape[:1] or not jnp.issubdtype(dtype, jnp.integer):
            raise ConfigError(
                f"coupling returned shape {shape} of {dtype}, allowed: integers {x0.shape[:1]}"
            )
        x1 = x1[index]
    return x0, x1, value


def own_pairs(options: Options, batch: Batch) -> tuple[Array, Array]:
    """ "x0" and "x1" [B, *shape] of a batch, in the path's units, instead of data and noise.

    Raises ConfigError for a batch without one of them, and for another shape.
    """
    shape = (batch["x"].shape[0], *options.shape)
    if "x0" not in batch:
        raise ConfigError("batch has 'x1' without 'x0', the data that belongs to it")
    x0, x1 = (check_output(f"batch {name!r}", batch[name], shape) for name in ("x0", "x1"))
    return x0, x1


def with_dropout(key: Key[Array, ""], parts: Parts) -> tuple[Any, Preconditioned]:
    """For training: a key, and the network, with its dropout turned on if it has some."""
    p = parts.preconditioned
    if not getattr(parts.network, "dropout", 0):
        return key, p
    key, key_dropout = jax.random.split(key)
    return key, p._replace(
        apply=partial(p.apply, deterministic=False, rngs={"dropout": key_dropout})
    )


def step(
    parts: Parts, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    """One update on the loss, and one of the moving average."""
    key, network = with_dropout(key, parts)
    loss = lambda params: training_loss(parts, network, params, key, batch)
    return optimizer_step_with_ema(loss, parts.optimizer, parts.options.ema_decay, state)


def model_from_parts(parts: Parts, log_prob: Callable = _ode_log_prob) -> GenerativeModel:
    """The model of parts that `make_parts` has checked.

    Args:
      log_prob: `generate.log_prob`, an estimate; any other is a lower bound.
    """
    options = parts.options
    replaced = options.source is not None or options.start is not None
    kind = "estimate" if log_prob is _ode_log_prob else "lower bound"
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        None if replaced else log_prob,
        "none" if replaced else kind,
    )
    return compiled(
        model,
        condition=options.condition,
        per_sample={
            "guidance": partial(one_or_each, "guidance"),
            "given": lambda given, n: given,
        },
        encode=partial(to_model_floats, options),
    )


@no_type_check
def diffusion(
    network, path: str | GaussianPath, optimizer: optax.GradientTransformation, **options
) -> GenerativeModel:
    """A diffusion model as a `GenerativeModel`; `options` are the fields of `Options`.

    Args:
      network: Flax module, or `nets.from_functions`, `nets.from_nnx`: `(x [B, *shape], noise [B],
        condition or None) -> [B, *shape]`; one with a field `dropout` above 0 takes
        `deterministic=False` in training.
      path: a `GaussianPath` or a name in PATHS.
    `sample` takes the arguments of `draw_samples`, `log_prob` those of `generate.log_prob`, and
    both the names of the condition. Raises ConfigError for unknown names and values out of range.

    >>> import optax
    >>> from gen_jax import conditions, diffusion, nets
    >>> model = diffusion.diffusion(
    ...     nets.MLP((64, 64)),
    ...     "cosine",
    ...     optax.adam(1e-3),
    ...     shape=(2,),
    ...     condition=conditions.labels(3),
    ... )
    >>> model.log_prob_kind, "label" in model.conditions
    ('estimate', True)
    """
    return model_from_parts(make_parts(network, path, optimizer, options_from(Options, options)))
