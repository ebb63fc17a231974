"""Labels that condition a model: checked at the door, and as one-hot rows."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Int


def check_labelled(batch: Mapping[str, Any], num_classes: int) -> None:
    """Raise ConfigError for data without the labels that a model of classes needs."""
    if num_classes and "y" not in batch:
        raise ConfigError(f"num_classes={num_classes}, but the data has no labels")


def checked_labels(label: Any, n: int, num_classes: int) -> Int[Array, "n"] | None:
    """Labels [n] from None, one label or n. Raises ConfigError when not in 0 .. num_classes - 1."""
    if label is None:
        return None
    if num_classes == 0:
        raise ConfigError("label was given, but the model was trained without labels")
    if jnp.shape(label) not in ((), (n,)):
        raise ConfigError(f"label must be one integer or have shape [{n}], got {jnp.shape(label)}")
    if not isinstance(label, jax.core.Tracer):
        values = np.asarray(label)
        whole = np.issubdtype(values.dtype, np.integer)
        if not whole or values.min() < 0 or values.max() >= num_classes:
            raise ConfigError(f"label={label} must be integers in [0, {num_classes - 1}]")
    return jnp.broadcast_to(jnp.asarray(label, jnp.int32), (n,))


def one_hot(label: Int[Array, "n"], num_classes: int) -> Float[Array, "n K"]:
    """Rows of the identity; zeros for the label num_classes, which stands for "no label".

    Labels further out give NaN: under jit `checked_labels` cannot see them.
    """
    inside = (label >= 0) & (label <= num_classes)
    return jnp.where(inside[:, None], jax.nn.one_hot(label, num_classes), jnp.nan)
