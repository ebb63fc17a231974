"""What a trained energy model gives: its energy, score, logits and log Z."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.condition_values import value_of
from gen_jax.data_units import log_det, to_model_floats
from gen_jax.energy.model import annealed_chains, energy_of, outputs
from gen_jax.energy.options import Parts
from gen_jax.energy.score_model import score_of
from gen_jax.errors import ConfigError, DataError, check_choice
from gen_jax.frozen import parts_of
from gen_jax.mcmc import Annealed
from gen_jax.model import GenerativeModel
from gen_jax.types import Array, Estimate, Float, Key, Num, State

UNITS = ("data", "model")

Points = Num[Array | np.ndarray, "B ..."]


def _encoded(parts: Parts, x: Any, units: str) -> Array:
    """x [B, *shape] in the model's units; a random transform takes the same noise at each call."""
    x = jnp.asarray(x)
    return to_model_floats(parts.options, jax.random.key(0), x) if units == "data" else x


def energy(
    model: GenerativeModel, state: State, *, units: str = "data", **conditions: Any
) -> Callable[[Points], Float[Array, "B"]]:
    """E, `x [B, ...] -> [B]` in nats, of the moving average: log p(x) = -E(x) - log Z.

    Args:
      units: "data", in which `log_prob` is a density, or "model" for those after the transform, in
        which chains walk. Z is the same: the energies differ by log |du/dx|.
      conditions: of `jem`, label=3 or [B]: the energy of p(x | label), whose log Z is its own.
    Raises ConfigError for a model of another family, and for a condition that does not fit.
    """
    check_choice("units", units, UNITS)
    parts, own = parts_of(model, state, Parts)

    def of(x: Points) -> Float[Array, "B"]:
        u, label = _encoded(parts, x, units), value_of(parts.condition, conditions, len(x))
        e = energy_of(parts, own.ema, own.stats, label)(u)
        return e - log_det(parts.options, u) if units == "data" else e

    return of


def score(
    model: GenerativeModel, state: State, *, units: str = "data", **conditions: Any
) -> Callable[[Points], Float[Array, "B ..."]]:
    """grad log p = -grad E, `x [B, ...] -> [B, ...]`; the arguments are those of `energy`.

    The function raises DataError for whole numbers, such as uint8 images: their gradient is that
    of units="model".
    """
    slope = score_of(energy(model, state, units=units, **conditions))

    def of(x: Points) -> Float[Array, "B ..."]:
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise DataError(f"x is {x.dtype}, must be floats (encode it, and take units='model')")
        return slope(x)

    return of


def logits(
    model: GenerativeModel, state: State, *, units: str = "data"
) -> Callable[[Points], Float[Array, "B K"]]:
    """The classifier of a trained `jem`, `x [B, ...] -> [B, K]`: softmax gives p(y | x).

    Raises ConfigError for a model without labels.
    """
    check_choice("units", units, UNITS)
    parts, own = parts_of(model, state, Parts)
    if parts.condition is None:
        raise ConfigError("model has no condition: only jem gives logits")
    return lambda x: outputs(parts, own.ema, own.stats, _encoded(parts, x, units))


def annealed(key: Key[Array, ""], model: GenerativeModel, state: State) -> Annealed:
    """The chains of the option `annealing`, from the base to the model of the moving average.

    They end in the model's units.
    """
    parts, own = parts_of(model, state, Parts)
    return annealed_chains(parts, key, own, parts.options.annealing.chains)


def log_normalizer(key: Key[Array, ""], model: GenerativeModel, state: State) -> Estimate:
    """log Z with its standard error, in nats; its mean is too small (see `normalizer`).

    The error misleads when `pareto_k` of `annealed` is above 0.7.
    """
    return annealed(key, model, state).log_normalizer
