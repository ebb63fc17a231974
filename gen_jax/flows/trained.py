"""The trained inside of the models of flows: their bijectors and surfaces."""

from typing import Any

import jax.numpy as jnp

from gen_jax.flows.bijector import Bijector
from gen_jax.flows.ffjord import Parts as ContinuousParts
from gen_jax.flows.likelihood_model import given_rows
from gen_jax.flows.manifold import Parts as SurfaceParts
from gen_jax.flows.manifold import Surface
from gen_jax.flows.model import Parts as FlowParts
from gen_jax.frozen import parts_of, unfrozen
from gen_jax.model import GenerativeModel
from gen_jax.types import Array, Float, State


def bijector(model: GenerativeModel, state: State, **conditions: Any) -> Bijector:
    """The bijector of a `flow` or an `ffjord`: `forward` from the base to the flow's units.

    It is that of the moving average. An FFJORD's takes twice the solver's steps of training and
    the exact divergence, and its directions are inverse to each other up to the solver's error.

    Args:
      conditions: label=3 for all examples, or [B]. Without it the label is hidden.
    Raises ConfigError for another model, and for a condition that does not fit.
    """
    kind = ContinuousParts if isinstance(unfrozen(model, state)[0].parts, ContinuousParts) else None
    parts, own = parts_of(model, state, kind or FlowParts)

    def of_rows(n: int) -> Bijector:
        return parts.bijector(own.ema, given_rows(parts.options, conditions, n))

    def forward(z: Float[Array, "B ..."]) -> tuple[Float[Array, "B ..."], Float[Array, "B"]]:
        return of_rows(len(z)).forward(jnp.asarray(z))

    def inverse(x: Float[Array, "B ..."]) -> tuple[Float[Array, "B ..."], Float[Array, "B"]]:
        return of_rows(len(x)).inverse(jnp.asarray(x))

    return Bijector(forward, inverse)


def surface(model: GenerativeModel, state: State) -> Surface:
    """The surface of a `manifold_flow`, with the moving average, in the flow's units.

    Raises ConfigError for another model.
    """
    parts, own = parts_of(model, state, SurfaceParts)
    return parts.surface(own.ema)
