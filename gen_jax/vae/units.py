"""Between data units and the values of a likelihood: what every model of this family shares.

`transform` is a `data.Transform`, or None for data that are such values already.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Key, Num
from gen_jax.vae.likelihoods import Likelihood, check_values, sample_each

Data = Num[Array | np.ndarray, "B ..."]
"""A batch in data units."""


def to_values(
    transform: Any,
    shape: tuple[int, ...],
    likelihood: Likelihood,
    key: Key[Array, "*batch"],
    x: Data,
) -> Num[Array, "B ..."]:
    """Data units to the likelihood's values [B, *shape].

    Raises ConfigError or DataError for data that do not fit the shape or the likelihood.
    """
    u = jnp.asarray(transform.encode(key, x) if transform else x)
    if u.shape[1:] != tuple(shape):
        raise ConfigError(f"data of shape {u.shape[1:]} does not fit shape={shape}")
    check_values(likelihood, u)
    return u


def log_det(transform: Any, u: Num[Array, "B ..."]) -> Float[Array, "B"]:
    """log |du/dx| per example in nats."""
    return transform.log_det(u) if transform else jnp.zeros(len(u))


def draw_data(
    transform: Any,
    likelihood: Likelihood,
    keys: Key[Array, "n"],
    raw: Float[Array, "n ..."],
    mean: bool,
) -> Num[Array, "n ..."]:
    """Draws, or means, of the likelihood in data units."""
    u = likelihood.mean(raw) if mean else sample_each(likelihood, keys, raw)
    u = jnp.round(u).astype(jnp.uint8) if likelihood.values == "levels" else u
    return transform.decode(u) if transform else u
