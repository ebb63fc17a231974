"""Positions of many chains, whatever their form, as one matrix."""

from collections.abc import Callable
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_array
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float


def start_points(x: Any) -> Any:
    """Where chains start as arrays of jax; rows of numbers in a list are one array.

    Raises DataError for what is no array of numbers.
    """
    if isinstance(x, list) and all(isinstance(leaf, Number) for leaf in jax.tree.leaves(x)):
        return jnp.asarray(as_array("x", x, finite=False))
    return jax.tree.map(lambda leaf: jnp.asarray(as_array("x", leaf, finite=False)), x)


def flatten(x: Any) -> tuple[Float[Array, "B D"], Callable[[Array], Any]]:
    """Positions as vectors [B, D], and the function that turns any [M, D] back into their form.

    Raises ConfigError unless x has floating-point leaves with one leading axis of chains.
    """
    leaves, form = jax.tree.flatten(x)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    shapes = [leaf.shape for leaf in leaves]
    floating = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)
    if not floating or len({shape[:1] for shape in shapes}) != 1 or shapes[0][:1] in ((), (0,)):
        raise ConfigError(
            f"x has shapes {shapes}, allowed: floating-point arrays [B, ...] of B >= 1 chains"
        )
    sizes = [int(np.prod(shape[1:])) for shape in shapes]
    ends = np.cumsum(sizes)

    def unflatten(flat: Array) -> Any:
        parts = jnp.split(flat, ends[:-1].tolist(), axis=1)
        reshape = lambda part, leaf: part.reshape(-1, *leaf.shape[1:]).astype(leaf.dtype)
        return jax.tree.unflatten(form, [reshape(*pair) for pair in zip(parts, leaves)])

    flat = [leaf.reshape(len(leaf), size) for leaf, size in zip(leaves, sizes)]
    return flat[0] if len(flat) == 1 else jnp.concatenate(flat, 1), unflatten


def flat_scale(scale: Any, x: Any) -> Float[Array, "D"]:
    """The scales of the coordinates [D], from the form of one chain's x.

    Raises ConfigError when they have another form.
    """
    one = jax.tree.map(lambda leaf: leaf[0], x)
    shapes = [(jax.tree.structure(t), *map(jnp.shape, jax.tree.leaves(t))) for t in (scale, one)]
    if shapes[0] != shapes[1]:
        given, allowed = (shape[1:] for shape in shapes)
        raise ConfigError(f"scale has shapes {given}, allowed: those of one chain's x, {allowed}")
    rows = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype)[None], scale, one)
    return flatten(rows)[0][0]
