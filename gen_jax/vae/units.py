"""Between data units and the values of a likelihood: what every model of this family shares."""

from functools import partial
from typing import Protocol, runtime_checkable

import jax.numpy as jnp

from gen_jax.checks import is_known
from gen_jax.data_units import Data, HasUnits, check_data, to_data, to_model
from gen_jax.types import Array, Float, Key, Num
from gen_jax.vae.likelihoods import Likelihood, check_values, sample_each


@runtime_checkable
@runtime_checkable
class HasLaw(Protocol):
    """The parts of any model of this family."""

    @property
    def options(self) -> HasUnits: ...

    @property
    def likelihood(self) -> Likelihood: ...


def to_values(parts: HasLaw, key: Key[Array, "*batch"], x: Data) -> Num[Array, "B ..."]:
    """Data units to the likelihood's values [B, *shape].

    Raises ConfigError or DataError for data that do not fit the shape or the likelihood.
    """
    u = to_model(parts.options, key, x)
    check_values(parts.likelihood, u)
    if not is_known(u):
        check_data(parts.options, x, partial(check_values, parts.likelihood))
    return u


def _to_data(
    units: HasUnits, likelihood: Likelihood, u: Num[Array, "n ..."]
) -> Num[Array, "n ..."]:
    u = jnp.round(u).astype(jnp.uint8) if likelihood.values == "levels" else u
    return to_data(units, u)


def mean_in_data_units(
    units: HasUnits, likelihood: Likelihood, raw: Float[Array, "n ..."]
) -> Num[Array, "n ..."]:
    """E[x] of the likelihood in data units."""
    return _to_data(units, likelihood, likelihood.mean(raw))


def draw_data(
    units: HasUnits,
    likelihood: Likelihood,
    keys: Key[Array, "n"],
    raw: Float[Array, "n ..."],
    mean: bool,
) -> Num[Array, "n ..."]:
    """Draws, or means, of the likelihood in data units."""
    if mean:
        return mean_in_data_units(units, likelihood, raw)
    return _to_data(units, likelihood, sample_each(likelihood, keys, raw))
