"""Trained models with a guide built in: what guides is frozen and travels in the state."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.condition_values import names_of
from gen_jax.diffusion import guidance
from gen_jax.diffusion.model import model_from_parts
from gen_jax.diffusion.options import Parts
from gen_jax.errors import ConfigError
from gen_jax.frozen import Given, given, parts_of
from gen_jax.model import GenerativeModel
from gen_jax.paths import GaussianPath, transfer
from gen_jax.types import State


def autoguided(
    model: GenerativeModel, state: State, weaker: State
) -> tuple[GenerativeModel, State]:
    """The model guided by a weaker state of itself (karras2024), and its state.

    `sample` takes the weight as `guidance`, with or without a condition.
    """
    parts, own = parts_of(model, state, Parts)
    _, weak = parts_of(model, weaker, Parts)
    guided = given(weak.ema, lambda weaker: model_from_parts(parts._replace(weaker=weaker)))
    return guided, Given(weak.ema, own)


def classifier_guided(
    model: GenerativeModel,
    state: State,
    log_likelihood: Callable[[Any, Any, Any, Any], Any],
    params: Any,
    *,
    source: GaussianPath | None = None,
    weight: float = 1.0,
    max_level: float | None = 20.0,
    only: bool = False,
) -> tuple[GenerativeModel, State]:
    """The model guided by a classifier of noisy data (dhariwal2021), and its state.

    Args:
      log_likelihood: `(params, x_t [B, ...], t [B], condition [B, ...]) -> log p(y | x_t)` [B].
      params: of the classifier; frozen, and part of the new state.
      source: the path on which it was trained; the model's own if not given. It depends on
        x_t / alpha and sigma / alpha alone, as a denoiser does, and is transferred like one.
      weight, max_level: see `guidance.classifier`.
      only: the classifier sees the condition, but the network does not.
    Raises ConfigError when samples are drawn without a condition.
    """
    parts, own = parts_of(model, state, Parts)

    def make(params):
        def guide(denoise, condition, path):
            if condition is None:
                raise ConfigError(f"classifier guidance needs {names_of(parts.options.condition)}")
            log_p = lambda x, t: log_likelihood(params, x, t, condition)
            moved = transfer(log_p, source or parts.path, path)
            return guidance.classifier(denoise, moved, path, weight, max_level)

        return model_from_parts(parts._replace(guide=guide, conditioned=not only))

    frozen = jax.tree.map(jnp.asarray, params)
    return given(frozen, make), Given(frozen, own)
