"""JEM: a classifier that is also an energy (grathwohl2020), as a `GenerativeModel`."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import optax

from gen_jax.axes import expand, rows_of
from gen_jax.checks import no_type_check
from gen_jax.condition_values import value_of
from gen_jax.conditions import Condition, checked_condition, num_classes
from gen_jax.data_units import to_data
from gen_jax.energy.chains import run_chains
from gen_jax.energy.contrastive import contrastive
from gen_jax.energy.ebm import DEFAULT_CHAINS, negatives, sampling_settings, start_from_buffer
from gen_jax.energy.joint import label_loss, marginal_energy
from gen_jax.energy.model import energy_network, energy_of, model_from_parts, outputs
from gen_jax.energy.options import (
    ChainOptions,
    EnergyState,
    Method,
    Options,
    Parts,
    make_parts,
)
from gen_jax.errors import ConfigError, check_range
from gen_jax.model import GenerativeModel
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import check_ranges, options_from
from gen_jax.types import Array, Key


def _objective(
    energy_weight: float, regulariser: float, parts: Parts, params, stats, key, x, batch, negatives
):
    logits = outputs(parts, params, stats, x)
    y = parts.condition.of_batch(batch)  # type: ignore[union-attr]
    energy = lambda x: energy_network(parts, params, stats, x)
    pulled, aux = contrastive(energy, x, negatives.x, negatives.valid, regulariser=regulariser)
    label = label_loss(logits, y)
    right = (logits.argmax(1) == y).astype(x.dtype)
    return label + energy_weight * pulled, {"label_loss": label, "accuracy": right, **aux}


def _sample(
    chains: ChainOptions,
    parts: Parts,
    key: Key[Array, "*batch"],
    state: EnergyState,
    n: int,
    *,
    num_steps: int | None = None,
    **conditions: Any,
) -> Array:
    """Samples [n, ...] in data units, of p(x), or of p(x | label) where labels are given."""
    keys, settings = sample_keys(key, n), sampling_settings(chains, state, num_steps)
    label, weights = value_of(parts.condition, conditions, n), None
    if label is not None and state.buffer is not None:
        every = outputs(parts, state.ema, state.stats, state.buffer)
        weights = rows_of((every + marginal_energy(every)[:, None]).T, label)
    start = start_from_buffer(fold_in(keys, 0), state, parts.options, weights)
    energy = energy_of(parts, state.ema, state.stats, label)
    x = run_chains(fold_in(keys, 1), energy, start, **settings).x
    if label is not None:  # a chain whose energy is NaN stays where it started
        x = x + expand(rows_of(jnp.zeros(num_classes(parts.condition)), label), x)
    return to_data(parts.options, x)


@no_type_check
def jem(
    network,
    optimizer: optax.GradientTransformation,
    *,
    condition: Condition | None = None,
    chains: ChainOptions = DEFAULT_CHAINS,
    energy_weight: float = 1.0,
    regulariser: float = 0.0,
    **options,
) -> GenerativeModel:
    """-log p(y | x) plus energy_weight times the contrastive loss of p(x) (grathwohl2020 eq. 7).

    Args:
      network: Flax module, `x [B, *shape] -> logits [B, K]`.
      condition: `conditions.labels(K)`, K of 2 or more.
      chains, regulariser, options: as for `ebm`.
    `sample` takes `label`, [n] or one number: then rows of the buffer, as draws of p(x), are chosen
    with weights p(y | x), which makes them draws of p(x | y), and moved on along log f(x)[y]; and
    `num_steps`. Chains rarely cross between modes apart, so the energy hardly learns their weights,
    nor those of the classes: do not trust these. `log_prob` is an estimate of log p(x), or with
    labels of log p(x | label), for which it anneals to every class. Raises ConfigError for numbers
    out of range, labels among them, and for data without labels.
    """
    if checked_condition(condition) is None or num_classes(condition) < 2:
        raise ConfigError("condition must be labels(K) with K of 2 or more: a JEM is a classifier")
    check_ranges(chains)
    check_range("regulariser", regulariser, 0)
    check_range("energy_weight", energy_weight, 0)
    method = Method(
        partial(_objective, energy_weight, regulariser),
        partial(negatives, chains),
        partial(_sample, chains),
        buffer_size=chains.buffer_size,
    )
    parts = make_parts(network, optimizer, options_from(Options, options), method, condition)
    return model_from_parts(parts)
