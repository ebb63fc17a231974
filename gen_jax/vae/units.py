"""Between data units and the values of a likelihood: what every model of this family shares."""

from functools import partial

import jax.numpy as jnp

from gen_jax.checks import is_known
from gen_jax.data_units import Data, HasUnits, check_data, to_data, to_model
from gen_jax.types import Array, Float, Key, Num
from gen_jax.vae.likelihoods import Likelihood, check_values, sample_each


def to_values(
    units: HasUnits, likelihood: Likelihood, key: Key[Array, "*batch"], x: Data
) -> Num[Array, "B ..."]:
    """Data units to the likelihood's values [B, *shape].

    Raises ConfigError or DataError for data that do not fit the shape or the likelihood.
    """
    u = to_model(units, key, x)
    check_values(likelihood, u)
    if not is_known(u):
        check_data(units, x, partial(check_values, likelihood))
    return u


def draw_data(
    units: HasUnits,
    likelihood: Likelihood,
    keys: Key[Array, "n"],
    raw: Float[Array, "n ..."],
    mean: bool,
) -> Num[Array, "n ..."]:
    """Draws, or means, of the likelihood in data units."""
    u = likelihood.mean(raw) if mean else sample_each(likelihood, keys, raw)
    u = jnp.round(u).astype(jnp.uint8) if likelihood.values == "levels" else u
    return to_data(units, u)
