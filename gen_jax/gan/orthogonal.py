"""Orthogonal regularisation: the columns of every matrix are drawn apart (brock2019 eq. 3)."""

from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.types import Array, Float


def overlap(kernel: Float[Array, "*I O"]) -> Float[Array, ""]:
    """Sum of squares of W^T W off its diagonal, W = the kernel as a matrix [inputs, outputs].

    The diagonal is left out, so that the columns keep their lengths.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    gram = matrix.T @ matrix
    return jnp.sum(gram**2) - jnp.sum(jnp.diagonal(gram) ** 2)


SHARED = "shared"
"""The module of a class embedding that all layers share; brock2019's code leaves it out, whose rows
are classes and not features."""


def orthogonal_penalty(params: Any) -> Float[Array, ""]:
    """Half the sum of `overlap` over all parameters that are matrices or kernels, but for those of
    modules named `SHARED`."""
    regular = lambda path: all(getattr(step, "key", None) != SHARED for step in path)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    kernels = [leaf for path, leaf in leaves if leaf.ndim > 1 and regular(path)]
    return 0.5 * sum(map(overlap, kernels), jnp.zeros(()))
