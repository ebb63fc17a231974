"""An energy-based model trained by contrastive maximum likelihood, as a `GenerativeModel`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check
from gen_jax.data_units import to_data
from gen_jax.energy import replay
from gen_jax.energy.chains import Negatives, run_chains
from gen_jax.energy.contrastive import contrastive
from gen_jax.energy.model import energy_network, energy_of, model_from_parts
from gen_jax.energy.options import (
    ChainOptions,
    EnergyState,
    Method,
    Options,
    Parts,
    fresh,
    make_parts,
)
from gen_jax.errors import check_range
from gen_jax.model import GenerativeModel
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import check_ranges, options_from
from gen_jax.types import Array, Float, Key, Metrics

DEFAULT_CHAINS = ChainOptions()


def chain_settings(chains: ChainOptions, num_steps: int | None = None) -> dict[str, Any]:
    """The arguments of `run_chains`."""
    return {
        "num_steps": chains.num_steps if num_steps is None else num_steps,
        "step_size": chains.step_size,
        "temperature": chains.temperature,
        "clip": chains.clip,
    }


def sampling_settings(
    chains: ChainOptions, state: EnergyState, num_steps: int | None
) -> dict[str, Any]:
    """The arguments of `run_chains` for samples: `sample_steps` where they leave a buffer."""
    usual = chains.num_steps if state.buffer is None else chains.sample_steps
    return chain_settings(chains, usual if num_steps is None else num_steps)


def negative_samples(
    key: Key[Array, ""],
    energy: Callable[[Array], Array],
    buffer: Float[Array, "N ..."] | None,
    n: int,
    options: Options,
    chains: ChainOptions,
) -> tuple[Negatives, Float[Array, "N ..."] | None, Metrics]:
    """n short runs from the base, or from the buffer, which is given back with their ends.

    Metrics: "chains_dropped", how many met NaN or infinity; "chains_alive", the share of the
    others, NaN when there are none, so that training stops with its name.
    """
    key_start, key_rows, key_chain, key_again = jax.random.split(key, 4)
    start, settings = fresh(key_start, options, n), chain_settings(chains)
    if buffer is None:
        negatives = run_chains(key_chain, energy, start, **settings)
    else:
        rows, start = replay.draw(key_rows, buffer, start, chains.reinit)
        negatives = run_chains(key_chain, energy, start, **settings)
        again = fresh(key_again, options, n)
        buffer = replay.write(buffer, rows, negatives.x, negatives.valid, again)
    alive = jnp.mean(negatives.valid.astype(jnp.float32))
    metrics = {
        "chains_dropped": jnp.sum(~negatives.valid).astype(jnp.float32),
        "chains_alive": jnp.where(alive > 0, alive, jnp.nan),
    }
    return negatives, buffer, metrics


def negatives(chains: ChainOptions, parts: Parts, key, params, stats, buffer, x):
    """The field `negatives` of a `Method`, for given chains."""
    energy = energy_of(parts, params, stats)
    return negative_samples(key, energy, buffer, len(x), parts.options, chains)


def start_from_buffer(
    keys: Key[Array, "n"], state: EnergyState, options: Options, weights: Array | None = None
) -> Float[Array, "n ..."]:
    """A row of the buffer for each key, or a draw of the base without a buffer.

    Args:
      weights: log-weights [n, N] of the rows, in nats; all alike if not given.
    """
    if state.buffer is None:
        return fresh(keys, options, len(keys))
    if weights is None:
        weights = jnp.zeros((len(keys), len(state.buffer)))
    return state.buffer[jax.vmap(jax.random.categorical)(keys, weights)]


def _objective(regulariser: float, parts: Parts, params, stats, key, x, batch, negatives):
    energy = lambda x: energy_network(parts, params, stats, x)
    return contrastive(energy, x, negatives.x, negatives.valid, regulariser=regulariser)


def _sample(
    chains: ChainOptions,
    parts: Parts,
    key: Key[Array, "*batch"],
    state: EnergyState,
    n: int,
    *,
    num_steps: int | None = None,
) -> Array:
    """Samples [n, ...] in data units, by chains of `num_steps`, or as many as the options say."""
    keys, settings = sample_keys(key, n), sampling_settings(chains, state, num_steps)
    start = start_from_buffer(fold_in(keys, 0), state, parts.options)
    energy = energy_of(parts, state.ema, state.stats)
    return to_data(parts.options, run_chains(fold_in(keys, 1), energy, start, **settings).x)


@no_type_check
def ebm(
    network,
    optimizer: optax.GradientTransformation,
    *,
    chains: ChainOptions = DEFAULT_CHAINS,
    regulariser: float = 0.0,
    **options,
) -> GenerativeModel:
    """Contrastive training with short-run or persistent chains (du2019, nijkamp2019).

    Args:
      network: Flax module, `x [B, *shape] -> F(x) [B]`; with `train=True` it moves its spectral
        norms on, if it has any. Clip gradients in the optimizer.
      chains: a buffer of size 0 is short runs from the base, whose end at test time is the same
        short run (a generator, whatever the energy's density); otherwise samples are rows of the
        buffer, moved on by `sample_steps`.
      regulariser: weight of the squared energies, see `contrastive`.
      options: fields of `Options`.
    Chains rarely cross between modes apart, so the energy hardly learns their weights: do not trust
    these, of samples or of `log_prob`.
    `sample` takes `num_steps`, another number of chain steps. `log_prob` is an estimate, too large
    on average. A run stops with "chains_alive is not finite" when all chains diverge.
    Raises ConfigError for numbers out of range.
    """
    check_ranges(chains)
    check_range("regulariser", regulariser, 0)
    method = Method(
        partial(_objective, regulariser),
        partial(negatives, chains),
        partial(_sample, chains),
        buffer_size=chains.buffer_size,
    )
    return model_from_parts(make_parts(network, optimizer, options_from(Options, options), method))
