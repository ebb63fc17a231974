"""A trained diffusion model's flow in few steps, with or without guidance: distillation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.diffusion import Parts
from gen_jax.diffusion.generate import plain_denoiser
from gen_jax.errors import ConfigError
from gen_jax.fine_tuning import start_from
from gen_jax.flow_matching.flow_map_model import flow_map_model
from gen_jax.frozen import Given, given, parts_of
from gen_jax.model import GenerativeModel
from gen_jax.types import Batch, Key, State

SHARED = (
    "shape",
    "prediction",
    "data_std",
    "noise_input",
    "condition",
    "condition_dropout",
    "transform",
    "source",
    "start",
    "coupling",
    "likelihood",
)
"""Options that a student has of its teacher."""


def distilled_flow_map(
    teacher: GenerativeModel,
    state: State,
    optimizer: optax.GradientTransformation,
    loss: str | Callable = "consistency",
    **options: Any,
) -> GenerativeModel:
    """A few-step model of the teacher's flow, by any loss but those of OF_LAWS.

    It has the teacher's network, path and units and starts from its moving average, which is kept
    in the state and not trained (`frozen.given`). With `guidance` it learns the guided flow, so
    that one call per step samples as two of the teacher do (meng2023).

    Args:
      options: of `flow_map_model` but those in SHARED, such as `guidance` and `loss_options`.
    Raises ConfigError for a teacher of another family, with learned variances, or with an option
    that a flow map refuses, such as the noise input "log_snr".
    """
    parts, own = parts_of(teacher, state, Parts)
    guided = parts.guide is not None or parts.weaker is not None
    if parts.learned_variance or guided or parts.steppers:
        raise ConfigError(
            "teacher has learned variances, a guide built in, or few steps: it must be a plain "
            "model of diffusion or flow_matching"
        )
    if refused := sorted({*SHARED, "teacher"} & options.keys()):
        raise ConfigError(f"{', '.join(refused)}: a student has those of its teacher")
    shared = {name: getattr(parts.options, name) for name in SHARED}

    def make(params: Any) -> GenerativeModel:
        ask = lambda x, t, value: plain_denoiser(parts, params, value, len(x))(x, t)
        return flow_map_model(
            parts.network, parts.path, optimizer, loss, teacher=ask, **shared, **options
        )

    try:
        model = given(own.ema, make)
    except ConfigError as error:
        raise ConfigError(f"student of this teacher: {error}") from error

    def init(key: Key[jax.Array, ""], batch: Batch) -> Given:
        fresh = model.init(key, batch)
        copy = lambda: jax.tree.map(jnp.array, fresh.frozen)  # training donates each once
        start = fresh.own._replace(params=copy(), ema=copy())
        return fresh._replace(own=start_from(fresh.own, start))

    return model._replace(init=init)
