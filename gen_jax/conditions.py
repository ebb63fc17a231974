"""Labels that condition a model: checked at the door, and as one-hot rows."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_array, is_known
from gen_jax.errors import ConfigError, DataError, shown
from gen_jax.types import Array, Float, Int


def _check_classes(name: str, labels: Any, highest: int, error: type[Exception]) -> None:
    """Raise `error` for known labels that are not integers in 0 .. highest."""
    whole = jnp.issubdtype(labels.dtype, jnp.integer)
    if whole and (not is_known(labels) or labels.size == 0):
        return
    if not is_known(labels) or labels.size == 0:
        raise error(f"{name}: labels are {shown(labels)}, must be integers in [0, {highest}]")
    values = np.asarray(labels)
    low, high = values.min(), values.max()
    if not whole or low < 0 or high > highest:
        given = f": labels span {low} to {high},"
        if name == "label" and values.size <= 16:  # as it was typed
            given = f"={values.tolist()}"
        raise error(f"{name}{given} must be integers in [0, {highest}]")


def batch_labels(batch: Mapping[str, Any], num_classes: int, *, unlabelled: bool = False) -> Any:
    """The labels [B] of a batch, for a model of so many classes; None for a model of none.

    Args:
      unlabelled: whether num_classes is allowed too, for an example without a label.
    Raises ConfigError when there are none, DataError unless they are integers [B] in 0 ..
    num_classes - 1: the network's row num_classes stands for "no label".
    """
    if num_classes == 0:
        return None
    if "y" not in batch:
        raise ConfigError(f"num_classes={num_classes}, but the data has no labels 'y'")
    labels = as_array("batch 'y'", batch["y"])
    if labels.shape != (len(batch["x"]),):
        raise DataError(f"batch 'y' has shape {labels.shape}, must be [{len(batch['x'])}]")
    _check_classes("batch 'y'", labels, num_classes - (not unlabelled), DataError)
    return jnp.asarray(labels, jnp.int32)


def check_classes(name: str, network: Any, num_classes: int) -> None:
    """Raise ConfigError for a network that was made for another number of classes.

    Its row num_classes is the one of "no label", which none of the labels may reach.
    """
    own = getattr(network, "num_classes", num_classes)
    if own != num_classes:
        raise ConfigError(
            f"num_classes={num_classes}, but the {name} was made with num_classes={own}"
        )


def checked_labels(label: Any, n: int, num_classes: int) -> Int[Array, "n"] | None:
    """Labels [n] from None, one label or n. Raises ConfigError when not in 0 .. num_classes - 1."""
    if label is None:
        return None
    if num_classes == 0:
        raise ConfigError("label was given, but the model was trained without labels")
    try:
        label = as_array("label", label)
    except DataError as error:
        raise ConfigError(str(error)) from error
    if label.shape not in ((), (n,)):
        raise ConfigError(f"label must be one integer or have shape [{n}], got {label.shape}")
    _check_classes("label", label, num_classes - 1, ConfigError)
    return jnp.broadcast_to(jnp.asarray(label, jnp.int32), (n,))


def one_hot(label: Int[Array, "n"], num_classes: int) -> Float[Array, "n K"]:
    """Rows of the identity; zeros for the label num_classes, which stands for "no label".

    Labels further out give NaN: under jit `checked_labels` cannot see them.
    """
    inside = (label >= 0) & (label <= num_classes)
    return jnp.where(inside[:, None], jax.nn.one_hot(label, num_classes), jnp.nan)
