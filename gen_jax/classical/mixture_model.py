"""A Gaussian mixture as a `GenerativeModel`: an update of EM, or of gradient descent, is a `step`.

Stepwise EM (cappe2009): the statistics of each batch are mixed into those so far with weight
rate_t = (t + 1)^-forgetting. With forgetting = 0 and all data in the batch it is plain EM.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check
from gen_jax.classical import gradient_fit, moments
from gen_jax.classical.components import COVARIANCES, Mixture, log_prob, sample
from gen_jax.classical.em_steps import e_step, in_blocks, m_step
from gen_jax.classical.kmeans import start_mixture, variance_floor
from gen_jax.data_units import (
    check_data,
    density_kind,
    log_prob_in_units,
    to_data,
    to_model,
    to_model_vectors,
)
from gen_jax.errors import check_choice, check_range, check_shape
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import apply_gradient, start_moments
from gen_jax.ranges import Share, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, State

METHODS = ("em", "gradient")
RATE, SMALL = 0.01, 0.1
"""Of Adam where no optimizer is given, and the deviation of data for which that is too much."""


class EMState(NamedTuple):
    """The mixture so far, the number of updates, and what is added to the variances [D]."""

    mixture: Mixture
    step: Int[Array, ""]
    floor: Float[Array, "D"]


class GradientState(NamedTuple):
    """Unconstrained parameters, the optimizer's state, and the variances' lower bounds [D]."""

    params: gradient_fit.FreeMixture
    optimizer: Any
    floor: Float[Array, "D"]


def blend(old: Mixture, new: Mixture, rate: float | Array) -> Mixture:
    """The mixture whose statistics are (1 - rate) old + rate new, component by component."""
    weights = (1 - rate) * old.weights + rate * new.weights
    share = rate * new.weights / jnp.maximum(weights, jnp.finfo(weights.dtype).tiny)
    return Mixture(weights, *moments.blend(*old[1:], *new[1:], share))


def em_step(
    state: EMState, u: Float[Array, "B D"], forgetting: float
) -> tuple[EMState, Float[Array, ""]]:
    """One update by a batch, and the batch's mean log p [] before it."""
    blocks = in_blocks(u, len(state.mixture.weights))
    sums, _ = e_step(state.mixture, blocks)
    batch = m_step(state.mixture, sums, state.floor)
    rate = (state.step + 2.0) ** -forgetting  # the start counts as one batch
    mixture = blend(state.mixture, batch, rate.astype(u.dtype))
    return EMState(mixture, state.step + 1, state.floor), sums.log_prob / len(u)


class Options(NamedTuple):
    """Options of `gaussian_mixture`.

    Fields:
      shape: of one example after the transform.
      method: "em" or "gradient".
      covariance: "full" or "diagonal".
      epsilon: the share of the first batch's variance in each dimension, transformed, that is
        added to the components' variances (em) or is their lower bound (gradient).
      forgetting: in [0, 1]; batch n = 1, 2, .. replaces the share (n + 1)^-forgetting of what was.
        Above 0.5 the updates settle; 0 is plain EM on each batch.
      transform: `data.Transform`; its noise makes `log_prob` that of the dequantised data.
    """

    shape: tuple[int, ...]
    method: str = "em"
    covariance: str = "full"
    epsilon: Weight = 1e-4
    forgetting: Share = 0.6
    transform: Any = None


class Parts(NamedTuple):
    """What a mixture's updates, samples and densities are made of; k components.

    `steps_in_units`: whether the optimizer is the one of steps of RATE in units of the data.
    """

    k: int
    optimizer: optax.GradientTransformation
    options: Options
    steps_in_units: bool = False

    def mixture(self, state: EMState | GradientState) -> Mixture:
        """The mixture of a state."""
        if isinstance(state, EMState):
            return state.mixture
        return gradient_fit.constrained(state.params, state.floor)


@no_type_check
def make_parts(k: int, optimizer: optax.GradientTransformation | None, options: Options) -> Parts:
    """The parts of a model. Raises ConfigError for unknown names and values out of range."""
    shape = check_shape("shape", options.shape)
    check_range("k", k, 1, integer=True)
    check_choice("method", options.method, METHODS)
    check_choice("covariance", options.covariance, COVARIANCES)
    check_ranges(options)
    own = options.method == "gradient" and optimizer is None
    return Parts(k, optimizer or optax.adam(RATE), options._replace(shape=shape), own)


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> EMState | GradientState:
    """The mixture that k-means++ finds in the first batch."""
    options = parts.options
    key_encode, key_start = jax.random.split(key)
    least = SMALL if parts.steps_in_units else 0.0
    what = f"and Adam moves the parameters by up to {RATE} at each step"
    check_data(options, batch["x"], lambda u: moments.warn_small(u, least, what))
    u = to_model_vectors(options, key_encode, batch["x"])
    floor = variance_floor(u, options.epsilon)
    first = start_mixture(key_start, u, parts.k, options.covariance, floor)
    if options.method == "em":
        return EMState(first, jnp.int32(0), floor)
    params = gradient_fit.free(first, floor)
    return GradientState(params, start_moments(parts.optimizer, params), floor)


def step(
    parts: Parts, key: Key[Array, ""], state: EMState | GradientState, batch: Batch
) -> tuple[EMState | GradientState, Metrics]:
    """One update by a batch."""
    u = to_model_vectors(parts.options, key, batch["x"])
    if isinstance(state, EMState):
        state, value = em_step(state, u, parts.options.forgetting)
        return state, {"loss": -value}
    floor = state.floor
    loss = lambda params: -gradient_fit.mean_log_prob(params, u, floor)
    value, gradient = jax.value_and_grad(loss)(state.params)
    params, moments = apply_gradient(
        parts.optimizer, gradient, state.optimizer, state.params, value, loss
    )
    return GradientState(params, moments, floor), {"loss": value}


def draw_samples(parts: Parts, key: Key[Array, "*batch"], state: State, n: int) -> Array:
    """Samples [n, ...] in data units."""
    return to_data(parts.options, sample(key, parts.mixture(state), n))


def log_density(
    parts: Parts, key: Key[Array, "*batch"], state: State, x: Array
) -> Float[Array, "B"]:
    """log p(x) [B] in nats and data units."""
    mixture = parts.mixture(state)
    of_vectors = lambda u: log_prob(mixture, u.reshape(len(u), -1))
    return log_prob_in_units(parts.options, of_vectors, key, x)


def fitted_mixture(model: GenerativeModel, state: State) -> Mixture:
    """The mixture of a `gaussian_mixture`, of vectors after the transform.

    Raises ConfigError for another model.
    """
    parts, own = parts_of(model, state, Parts)
    return parts.mixture(own)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    options = parts.options
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        log_density,
        density_kind(partial(to_data, options), options.shape),
        parameters=lambda state: state[0],
    )
    return compiled(model, encode=partial(to_model, options))


@no_type_check
def gaussian_mixture(
    k: int, *, optimizer: optax.GradientTransformation | None = None, **options
) -> GenerativeModel:
    """A mixture of k Gaussians, started by k-means++ from the first batch.

    Whoever takes the steps decides how many; nothing restarts them or moves a component that has
    lost its points. `fit_em` has restarts, a stop rule and that rescue, in one compiled loop.

    Args:
      optimizer: of the gradient method; Adam at 0.01, in units of the transformed data, if not
        given.
      options: the fields of `Options`.
    Raises ConfigError for unknown names and values out of range.
    """
    return model_from_parts(make_parts(k, optimizer, options_from(Options, options)))
