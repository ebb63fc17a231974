"""Markov chains as a generative model: the state is the chains, a training step moves them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.checks import no_type_check
from gen_jax.errors import check_range
from gen_jax.mcmc.adaptation import FEWEST, Tuning, kernel_of, start_tuning, tune, window_ends
from gen_jax.mcmc.kernel import Kernel
from gen_jax.mcmc.run import advance
from gen_jax.model import GenerativeModel, compiled
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.sampling.checks import checked
from gen_jax.types import Array, Float, Int, State


class ChainsState(NamedTuple):
    """All chains (each leaf [B, ...]), their step size and scale, training steps done []."""

    chains: State
    tuning: Tuning
    step: Int[Array, ""]


def step_size_of(state: ChainsState, adapt: int) -> Float[Array, ""]:
    """The step size tried now, or, after `adapt` training steps, the one found."""
    average = state.tuning.average
    return jnp.exp(jnp.where(state.step < adapt, average.log_step, average.log_average))


@no_type_check
def markov_chains(
    log_density: Callable,
    make_kernel: Callable[..., Kernel],
    dim: int,
    *,
    num_chains: int = 256,
    kernel_steps: int = 10,
    step_size: float = 0.1,
    adapt: int = 0,
    target: float = 0.234,
    learn_scale: bool = False,
    spread: float = 1.0,
    log_normalizer: float | None = None,
) -> GenerativeModel:
    """Chains on a known density; data are not looked at.

    A training step is `kernel_steps` kernel steps of every chain. Sample i goes on from a chain
    drawn with its own key, by `kernel_steps` steps: many more samples than chains repeat them.

    Args:
      log_density: `x [B, dim] -> [B]` in nats, up to a constant.
      make_kernel: `step_size [] -> Kernel`.
      step_size: where dual averaging starts, or the fixed step size when `adapt` is 0.
      adapt: training steps with adaptation to the acceptance `target`; then the size is fixed.
      learn_scale: also learn the scale of each coordinate [dim] while adapting; then `make_kernel`
        is `(step_size, scale) -> Kernel`, and `adapt` at least 8.
      spread: chains start at N(0, spread^2 I): take it wider than the target.
      log_normalizer: log of the density's integral, if known; then `log_prob` is exact.
    Raises ConfigError for numbers out of range.
    """
    for name, value in (("num_chains", num_chains), ("kernel_steps", kernel_steps)):
        check_range(name, value, 1, integer=True)
    check_range("adapt", adapt, FEWEST if learn_scale else 0, integer=True)
    check_range("target", target, 0.01, 0.99)
    check_range("step_size", step_size, 0, open_low=True)
    check_range("spread", spread, 0, open_low=True)

    log_start = math.log(step_size)
    ends = window_ends(max(adapt, 1), num_chains) & learn_scale
    kernel_for = lambda size, scale: kernel_of(make_kernel, size, scale if learn_scale else None)

    def init(key, batch=None):
        x = spread * normal(sample_keys(key, num_chains), (dim,))
        chains, start = kernel_for(jnp.float32(step_size), jnp.ones(dim)).init(x), log_start
        tuning = start_tuning(chains, jnp.float32(start), start)
        return ChainsState(chains, tuning, jnp.int32(0))

    def step(key, state, batch=None):
        size, now = step_size_of(state, adapt), jnp.minimum(state.step, len(ends) - 1)
        chains, sums = advance(
            key, kernel_for(size, state.tuning.scale), state.chains, kernel_steps
        )
        acceptance = jnp.mean(sums.acceptance) / kernel_steps
        end = jnp.asarray(ends)[now]
        moved = tune(state.tuning, acceptance, chains, target, jnp.float32(log_start), end)
        tuning = jax.tree.map(
            lambda new, old: jnp.where(state.step < adapt, new, old), moved, state.tuning
        )
        metrics = {
            "acceptance": acceptance,
            "step_size": size,
            "log_density": jnp.mean(chains.log_density),
            "invalid": jnp.mean(sums.invalid) / kernel_steps,
        }
        if sums.swap_acceptance is not None:
            metrics["swap_acceptance"] = jnp.mean(sums.swap_acceptance) / kernel_steps
        return ChainsState(chains, tuning, state.step + 1), metrics

    def sample(key, state, n):
        keys = sample_keys(key, n)
        draw = lambda key: jax.random.randint(key, (), 0, num_chains)
        rows = jax.vmap(draw)(fold_in(keys, 0))
        chains = jax.tree.map(lambda leaf: leaf[rows], state.chains)
        kernel = kernel_for(step_size_of(state, adapt), state.tuning.scale)
        return advance(fold_in(keys, 1), kernel, chains, kernel_steps)[0].x

    def log_prob(key, state, x):
        return checked(log_density)(x) - log_normalizer  # type: ignore[operator]

    def trained(state):
        found = (state.tuning.average.log_average, state.tuning.scale)
        return found[: 1 + learn_scale] if adapt else ()

    if log_normalizer is None:
        return compiled(GenerativeModel(init, step, sample, parameters=trained))
    return compiled(GenerativeModel(init, step, sample, log_prob, "exact", parameters=trained))
