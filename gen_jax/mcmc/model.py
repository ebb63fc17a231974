"""Markov chains as a generative model: the state is the chains, a training step moves them."""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.checks import no_type_check, per_point
from gen_jax.errors import check_range
from gen_jax.frozen import parts_of
from gen_jax.mcmc.adaptation import FEWEST, Tuning, kernel_of, start_tuning, tune, window_ends
from gen_jax.mcmc.kernel import Kernel
from gen_jax.mcmc.run import advance
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.ranges import Count, Natural, Positive, Range, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Int, Key, Metrics, State


class ChainsState(NamedTuple):
    """All chains (each leaf [B, ...]), their step size and scale, training steps done []."""

    chains: State
    tuning: Tuning
    step: Int[Array, ""]


class Options(NamedTuple):
    """Options of `markov_chains`.

    Fields:
      num_chains: that move side by side.
      kernel_steps: of every chain in a training step, and of a sample from its chain on.
      step_size: where dual averaging starts, or the fixed step size when `adapt` is 0.
      adapt: training steps with adaptation to the acceptance `target`; then the size is fixed.
      learn_scale: also learn the scale of each coordinate [dim] while adapting; then `make_kernel`
        is `(step_size, scale) -> Kernel`, and `adapt` at least 8.
      spread: chains start at N(0, spread^2 I): take it wider than the target.
      log_normalizer: log of the density's integral, if known; then `log_prob` is exact.
    """

    num_chains: Count = 256
    kernel_steps: Count = 10
    step_size: Positive = 0.1
    adapt: Natural = 0
    target: Annotated[float, Range(0.01, 0.99)] = 0.234
    learn_scale: bool = False
    spread: Positive = 1.0
    log_normalizer: float | None = None


class Parts(NamedTuple):
    """What the chains of a model are made of; see `markov_chains`."""

    log_density: Callable
    make_kernel: Callable[..., Kernel]
    dim: int
    options: Options

    def kernel(self, step_size: Any, scale: Float[Array, "D"]) -> Kernel:
        """The kernel of this step size and, where it is learnt, of this scale."""
        return kernel_of(self.make_kernel, step_size, scale if self.options.learn_scale else None)


@no_type_check
def make_parts(
    log_density: Callable, make_kernel: Callable[..., Kernel], dim: int, options: Options
) -> Parts:
    """The parts of a model. Raises ConfigError for numbers out of range."""
    check_ranges(options)
    if options.learn_scale:
        check_range("adapt", options.adapt, FEWEST, integer=True)
    return Parts(log_density, make_kernel, dim, options)


def step_size_of(state: ChainsState, adapt: int) -> Float[Array, ""]:
    """The step size tried now, or, after `adapt` training steps, the one found."""
    average = state.tuning.average
    return jnp.exp(jnp.where(state.step < adapt, average.log_step, average.log_average))


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch | None = None) -> ChainsState:
    """Chains at random positions."""
    options, log_start = parts.options, math.log(parts.options.step_size)
    x = options.spread * normal(sample_keys(key, options.num_chains), (parts.dim,))
    chains = parts.kernel(jnp.float32(options.step_size), jnp.ones(parts.dim)).init(x)
    return ChainsState(
        chains, start_tuning(chains, jnp.float32(log_start), log_start), jnp.int32(0)
    )


def step(
    parts: Parts, key: Key[Array, ""], state: ChainsState, batch: Batch | None = None
) -> tuple[ChainsState, Metrics]:
    """`kernel_steps` kernel steps of every chain, and one of the adaptation."""
    o = parts.options
    ends = window_ends(max(o.adapt, 1), o.num_chains) & o.learn_scale
    size, now = step_size_of(state, o.adapt), jnp.minimum(state.step, len(ends) - 1)
    kernel = parts.kernel(size, state.tuning.scale)
    chains, sums = advance(key, kernel, state.chains, o.kernel_steps)
    acceptance = jnp.mean(sums.acceptance) / o.kernel_steps
    end, log_start = jnp.asarray(ends)[now], jnp.float32(math.log(o.step_size))
    moved = tune(state.tuning, acceptance, chains, o.target, log_start, end)
    tuning = jax.tree.map(
        lambda new, old: jnp.where(state.step < o.adapt, new, old), moved, state.tuning
    )
    metrics = {
        "acceptance": acceptance,
        "step_size": size,
        "log_density": jnp.mean(chains.log_density),
        "invalid": jnp.mean(sums.invalid) / o.kernel_steps,
    }
    if sums.swap_acceptance is not None:
        metrics["swap_acceptance"] = jnp.mean(sums.swap_acceptance) / o.kernel_steps
    return ChainsState(chains, tuning, state.step + 1), metrics


def draw_samples(
    parts: Parts, key: Key[Array, "*batch"], state: ChainsState, n: int
) -> Float[Array, "n D"]:
    """Each sample goes on from a chain drawn with its own key."""
    options, keys = parts.options, sample_keys(key, n)
    draw = lambda key: jax.random.randint(key, (), 0, options.num_chains)
    rows = jax.vmap(draw)(fold_in(keys, 0))
    chains = jax.tree.map(lambda leaf: leaf[rows], state.chains)
    kernel = parts.kernel(step_size_of(state, options.adapt), state.tuning.scale)
    return advance(fold_in(keys, 1), kernel, chains, options.kernel_steps)[0].x


def log_prob(
    parts: Parts, key: Key[Array, "*batch"] | None, state: ChainsState, x: Float[Array, "B D"]
) -> Float[Array, "B"]:
    """log p(x) in nats; the chains play no part in it."""
    assert parts.options.log_normalizer is not None
    return per_point("log_density", parts.log_density)(x) - parts.options.log_normalizer


def trained(parts: Parts, state: ChainsState) -> State:
    """The step size and the scale, where they are learnt."""
    found = (state.tuning.average.log_average, state.tuning.scale)
    return found[: 1 + parts.options.learn_scale] if parts.options.adapt else ()


class Chains(NamedTuple):
    """The chains of a model.

    Fields:
      state: of every chain, what `advance`, `run` and `collect` go on from; `state.x` [B, dim].
      kernel: with the step size and the scale.
      step_size, scale: tried now, or found; the scale is 1 where it is not learnt.
    """

    state: State
    kernel: Kernel
    step_size: Float[Array, ""]
    scale: Float[Array, "D"]


def chains(model: GenerativeModel, state: State) -> Chains:
    """The chains of a model and their kernel. Raises ConfigError for another model."""
    parts, own = parts_of(model, state, Parts)
    size, scale = step_size_of(own, parts.options.adapt), own.tuning.scale
    return Chains(own.chains, parts.kernel(size, scale), size, scale)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    known = parts.options.log_normalizer is not None
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        log_prob if known else None,
        "exact" if known else "none",
        parameters=partial(trained, parts),
    )
    return compiled(model)


@no_type_check
def markov_chains(
    log_density: Callable, make_kernel: Callable[..., Kernel], dim: int, **options
) -> GenerativeModel:
    """Chains on a known density; data are not looked at.

    A training step is `kernel_steps` kernel steps of every chain. Sample i goes on from a chain
    drawn with its own key, by `kernel_steps` steps: many more samples than chains repeat them.

    Args:
      log_density: `x [B, dim] -> [B]` in nats, up to a constant.
      make_kernel: `step_size [] -> Kernel`.
      options: the fields of `Options`.
    Raises ConfigError for numbers out of range.
    """
    return model_from_parts(
        make_parts(log_density, make_kernel, dim, options_from(Options, options))
    )
