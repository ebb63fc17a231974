"""Axes of arrays: what broadcasts over the examples of a batch, and rows and entries by number."""

import jax.numpy as jnp

from gen_jax.types import Array, Float, Int, Shaped


def expand(coefficient: Shaped[Array, "..."], x: Array) -> Array:
    """Append axes to a coefficient of shape [] or [B] so that it broadcasts over x [B, ...]."""
    coefficient = jnp.asarray(coefficient)
    return coefficient.reshape(coefficient.shape + (1,) * (x.ndim - coefficient.ndim))


def rows_of(table: Float[Array, "K ..."], index: Int[Array, "..."]) -> Float[Array, "..."]:
    """Rows of a table; NaN for an index out of range, never another row."""
    return table.at[index].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


def entry_of(values: Float[Array, "B K"], index: Int[Array, "B"]) -> Float[Array, "B"]:
    """One entry of each row; for an index out of range it is NaN, and so is its derivative."""
    inside = (index >= 0) & (index < values.shape[1])
    chosen = jnp.take_along_axis(values, jnp.where(inside, index, 0)[:, None], axis=1)[:, 0]
    return chosen * jnp.where(inside, 1, jnp.nan).astype(values.dtype)
