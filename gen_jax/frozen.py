"""Frozen arrays travel in the state of what is trained beside them.

Teachers, first stages, guides, a fixed prior, the base of a ControlNet are all `given`: a
checkpoint is whole, and no weights are built into a compiled program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError, shown
from gen_jax.model import GenerativeModel, compiled_like, sampler_of
from gen_jax.types import State


class Given(NamedTuple):
    """State of a model made by `given`: the frozen arrays, and the state of what is trained."""

    frozen: Any
    own: State


class Maker(NamedTuple):
    """`parts` of a model made by `given`."""

    make: Callable[[Any], GenerativeModel]


def given(frozen: Any, make: Callable[[Any], GenerativeModel]) -> GenerativeModel:
    """The model `make(frozen)` with `frozen` in its state, which is a `Given`; never updated.

    The families' functions of `(model, state)` reach through it. `log_prob_kind` and `conditions`
    are those of `make(frozen)`.

    Args:
      frozen: any pytree of arrays, such as the state of a trained model.
      make: pure; called with traced arrays, so that it must not look at their values.
    Raises ConfigError when `make` returns no model.
    """
    example = make(frozen)
    if not isinstance(example, GenerativeModel):
        raise ConfigError(f"make returned {shown(example)}, must return a GenerativeModel")
    arrays = jax.tree.map(jnp.array, frozen)  # copies: training donates its state

    def init(key, batch=None):
        return Given(arrays, make(arrays).init(key, batch))

    def step(key, state, batch=None):
        own, metrics = make(state.frozen).step(key, state.own, batch)
        return Given(state.frozen, own), metrics

    def sample(key, state, n, **conditions):
        return sampler_of(make(state.frozen))(key, state.own, n, **conditions)

    def log_prob(key, state, x, **options):
        density: Any = make(state.frozen).log_prob
        return density(key, state.own, x, **options)

    trained = lambda state: example.parameters(state.own)
    model = GenerativeModel(init, step, sample, log_prob, parts=Maker(make), parameters=trained)
    return compiled_like(model, example)


def unfrozen(model: GenerativeModel, state: State) -> tuple[GenerativeModel, State]:
    """The model that `make` returns and its own state; of any other model it and its state."""
    while isinstance(model.parts, Maker):
        model, state = model.parts.make(state.frozen), state.own
    return model, state


def parts_of(model: GenerativeModel, state: State, kind: type) -> tuple[Any, State]:
    """The parts of a model of one family, and the state that belongs to them.

    Raises ConfigError for a model of another family.
    """
    model, state = unfrozen(model, state)
    if not isinstance(model.parts, kind):
        family = kind.__module__.rpartition(".")[0]
        raise ConfigError(
            f"model has parts {shown(model.parts)}, must be a model of {family} ({kind.__name__})"
        )
    return model.parts, state
