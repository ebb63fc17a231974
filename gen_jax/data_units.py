"""Between data units and a model's: what the options `shape` and `transform` of a model mean."""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_floats, check_values
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Key, Shaped

Data = Shaped[Array | np.ndarray, "B ..."]
"""A batch in data units."""


@runtime_checkable
class HasUnits(Protocol):
    """Options with a `shape`, of one encoded example, and a `data.Transform` or None."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def transform(self) -> Any: ...


class Units(NamedTuple):
    """These two options alone."""

    shape: tuple[int, ...]
    transform: Any = None


def check_data(
    units: HasUnits,
    x: Data,
    check: Callable[[Array], Any] = lambda u: None,
    floats: bool = False,
) -> jax.ShapeDtypeStruct:
    """The form of data once encoded; encodes values that are known, also under a trace.

    So the first batch of a training run is seen as it is, not only as a shape. Raises what
    `to_model` and `check(u)` raise.
    """
    encoded = to_model_floats if floats else to_model
    whole = lambda x: encoded(units, jax.random.key(0), x)
    form = jax.eval_shape(
        whole, jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype))
    )
    check_values(lambda x: check(whole(x)), x)
    return form


SCALES = 5.0
"""How many times the data's standard deviation may be off before it is a warning."""


DEQUANTIZED = "data.chain(data.dequantize(), data.logit(0.05))"
"""What a density of images needs: levels on a grid have none."""


def check_real(units: HasUnits, x: Data, give: str = "data.symmetric_images()") -> None:
    """Raise ConfigError for whole numbers without a transform, such as `give` for images."""
    if units.transform is None and not jnp.issubdtype(x.dtype, jnp.floating):
        raise ConfigError(
            f"x is {x.dtype} and there is no transform (give transform={give} for images of "
            "uint8, another of gen_jax.data, or floating-point x of about unit size)"
        )


def check_scaled(
    units: HasUnits, x: Data, std: float, option: str = "data_std", narrow: bool = False
) -> None:
    """`check_data` for models that need the scale of their data.

    Raises ConfigError for whole numbers without a transform as well. Warns where the examples, if
    known and not alike, have a standard deviation above SCALES times `std`, or, unless data may be
    `narrow`, below std / SCALES.
    """
    check_real(units, x)
    check_data(units, x, lambda u: _warn_scale(u, std, option, narrow))


def _warn_scale(u: Array, std: float, option: str, narrow: bool) -> None:
    found = float(jnp.std(jnp.asarray(u, jnp.float32)))
    low = 0.0 if narrow else std / SCALES
    if len(u) < 8 or not found or low <= found <= std * SCALES:
        return
    warnings.warn(
        f"the first batch has a standard deviation of {found:.3g}, but {option}={std:g}: scale the "
        f"data (transform=data.symmetric_images() for images), or give {option}={found:.2g}",
        stacklevel=2,
    )


def to_model(units: HasUnits, key: Key[Array, "*batch"] | None, x: Data) -> Shaped[Array, "B ..."]:
    """Data units to u [B, *shape]; key is one key, or one per example [B].

    Raises ConfigError when they do not fit the shape.
    """
    u = jnp.asarray(units.transform.encode(key, x) if units.transform else x)
    if u.shape[1:] != tuple(units.shape):
        raise ConfigError(
            f"data of shape {u.shape[1:]} does not fit shape={units.shape}, that of one example "
            "(H, W, C of images)"
        )
    return u


def to_data(units: HasUnits, u: Shaped[Array, "B ..."]) -> Array:
    """Encoded examples, or their vectors [B, D], to data units."""
    u = u.reshape(-1, *units.shape)
    return units.transform.decode(u) if units.transform else u


def log_det(units: HasUnits, u: Shaped[Array, "B ..."]) -> Float[Array, "B"]:
    """log |du/dx| per example in nats."""
    return units.transform.log_det(u) if units.transform else jnp.zeros(u.shape[:1])


def to_model_floats(
    units: HasUnits, key: Key[Array, "*batch"] | None, x: Data
) -> Float[Array, "B ..."]:
    """`to_model` for models of real numbers: whole numbers become floating-point ones."""
    return as_floats("x", to_model(units, key, x))


def to_model_vectors(
    units: HasUnits, key: Key[Array, "*batch"] | None, x: Data
) -> Float[Array, "B D"]:
    """Data units to vectors."""
    return to_model_floats(units, key, x).reshape(x.shape[0], math.prod(units.shape))


def log_prob_in_units(
    units: HasUnits, log_prob: Callable[[Array], Array], key: Key[Array, "*batch"], x: Data
) -> Float[Array, "B"]:
    """log p(x) in nats and data units from `log_prob(u [B, *shape]) -> [B]`."""
    u = to_model_floats(units, key, x)
    return log_prob(u) + log_det(units, u)


def density_kind(to_data: Callable[[Array], Array], shape: tuple[int, ...]) -> str:
    """`log_prob_kind` of a density that is known exactly in a model's units: "exact", or "lower
    bound" where data are whole numbers, of whose probabilities the density of dequantised ones is
    a lower bound.

    Args:
      to_data: u [B, *shape] -> data units.
    """
    data = jax.eval_shape(to_data, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    return "lower bound" if jnp.issubdtype(data.dtype, jnp.integer) else "exact"
