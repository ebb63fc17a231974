"""What is refused at the door: start points and step sizes that cannot work."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError, shown
from gen_jax.types import Array, Float, Num, State

StepSize = float | Num[Array | np.ndarray, "..."]
"""One number, or one per chain [B]."""


def check_start(state: State) -> None:
    """Raise ConfigError when a chain starts where the density is 0, NaN or infinite.

    Says nothing under jit, where the numbers are not known.
    """
    if isinstance(state.log_density, jax.core.Tracer):
        return
    values = np.asarray(state.log_density, np.float64)
    outside, bad = np.isneginf(values), np.isnan(values) | np.isposinf(values)
    gradient = getattr(state, "gradient", None)
    if gradient is not None:
        bad |= ~outside & ~np.isfinite(np.asarray(gradient)).all(1)
    for wrong, what in ((bad, "NaN or infinite (or its gradient is)"), (outside, "0")):
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ConfigError(
                f"the density is {what} at the start of {wrong.sum()} of {len(values)} chains, "
                f"first at x[{first}]; start inside the support"
            )


def check_step_size(step_size: StepSize) -> None:
    """Raise ConfigError unless the step size, one number or one per chain, is finite and positive.

    Says nothing under jit, where the numbers are not known.
    """
    if isinstance(step_size, jax.core.Tracer):
        return
    try:
        values = np.asarray(step_size, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(1)
    if values.ndim > 1 or not np.all((values > 0) & np.isfinite(values)):
        raise ConfigError(
            f"step_size={shown(step_size)} must be a number in (0, inf), or one per chain [B]"
        )


def steps_of(step_size: StepSize, flat: Float[Array, "B D"]) -> Float[Array, "#B"]:
    """The step of each chain, [1] or [B], in the dtype of the positions.

    Raises ConfigError for another number of steps than of chains.
    """
    h = jnp.asarray(step_size, flat.dtype)
    if h.shape not in ((), flat.shape[:1]):
        raise ConfigError(f"step_size has shape {h.shape}, allowed: () or ({len(flat)},)")
    return h.reshape(-1)


def check_scale(scale: Any) -> None:
    """Raise ConfigError unless the scales of the coordinates are finite and positive.

    Says nothing under jit, where the numbers are not known.
    """
    for leaf in jax.tree.leaves(scale):
        if isinstance(leaf, jax.core.Tracer):
            continue
        try:
            values = np.asarray(leaf, np.float64)
        except (TypeError, ValueError):
            values = np.zeros(1)
        if not np.all((values > 0) & np.isfinite(values)):
            raise ConfigError(f"scale={leaf!r} must be numbers in (0, inf), one per coordinate")
