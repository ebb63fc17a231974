"""What a trained VAE gives: its encoder, its decoder, its functions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.condition_values import value_of
from gen_jax.data_units import Data
from gen_jax.errors import ConfigError
from gen_jax.frozen import parts_of, unfrozen
from gen_jax.model import GenerativeModel
from gen_jax.types import Array, Float, Key, Num, State
from gen_jax.vae.coder import VAEFunctions
from gen_jax.vae.likelihoods import Likelihood
from gen_jax.vae.options import Parts, make_functions
from gen_jax.vae.posterior import Posterior
from gen_jax.vae.units import mean_in_data_units, to_values


def functions(model: GenerativeModel, state: State, **conditions: Any) -> VAEFunctions:
    """Encoder, decoder, prior and likelihood of a trained `vae` or `semi_supervised` model.

    They take the likelihood's values, see `values`.

    Args:
      conditions: such as label=3, for all examples, or [B]; needed where networks see a label.
    Raises ConfigError for a model of another family, and for a condition that does not fit.
    """
    parts, own = parts_of(model, state, Parts)
    rows = [len(value) for value in conditions.values() if np.ndim(value)]
    label = value_of(parts.options.condition, conditions, max(rows, default=1))
    params = own.params if parts.classifier is None else own.params["coder"]
    return make_functions(parts, params, label)


def values(
    model: GenerativeModel, state: State, x: Data, *, key: Key[Array, "*batch"] | None = None
) -> Num[Array, "B ..."]:
    """Data units to the likelihood's values [B, *shape], of which the functions' bounds are.

    Args:
      key: of a random transform, such as dequantisation; the same noise at each call if not given.
    Raises ConfigError or DataError for data that do not fit the shape or the likelihood.
    """
    parts, _ = parts_of(model, state, Parts)
    return to_values(parts, jax.random.key(0) if key is None else key, x)


def encode(
    model: GenerativeModel,
    state: State,
    x: Data,
    *,
    key: Key[Array, "*batch"] | None = None,
    **conditions: Any,
) -> Posterior:
    """q(z | x) of data x [B, ...] in data units; `moments` are mean and log std of a Gaussian one.

    The arguments are those of `values` and `functions`.
    """
    return functions(model, state, **conditions).posterior(values(model, state, x, key=key))


def decode(
    model: GenerativeModel, state: State, z: Float[Array | np.ndarray, "N D"], **conditions: Any
) -> Num[Array, "N ..."]:
    """E[x | z] in data units, which for images are rounded: `functions` gives what is smooth in z.

    The conditions are those of `functions`.
    """
    parts, _ = parts_of(model, state, Parts)
    raw = functions(model, state, **conditions).decode(jnp.asarray(z))
    return mean_in_data_units(parts.options, parts.likelihood, raw)


def likelihood(model: GenerativeModel, state: State) -> Likelihood:
    """The law of x given the decoder's numbers, of any model of this family."""
    found = getattr(unfrozen(model, state)[0].parts, "likelihood", None)
    if not isinstance(found, Likelihood):
        raise ConfigError("model must be one of gen_jax.vae")
    return found
