"""Low-rank adaptation of trained parameters: W + scale A B, with B = 0 at first (hu2022 eq. 3)."""

from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.checks import as_key, check_callable, no_type_check
from gen_jax.errors import ConfigError, check_finite, check_range, shown
from gen_jax.types import Array, Key

Adapters = dict[str, dict[str, Array]]
"""By the path of a kernel: "down" [in, rank] and "up" [rank, out]."""


def is_kernel(path: str) -> bool:
    """Whether a parameter is the kernel of a dense layer or a convolution, by its name."""
    return path.endswith("kernel")


def _path(keys: Any) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def _sides(leaf: Array) -> tuple[int, int]:
    """Inputs and outputs of a kernel [..., out]: all axes but the last are inputs."""
    return prod(leaf.shape[:-1]), leaf.shape[-1]


def wide_kernels(params: Any, rank: int) -> frozenset[str]:
    """Paths of the kernels whose sides are no smaller than the rank."""
    leaves = {_path(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(params)}
    wide = lambda leaf: leaf.ndim > 1 and min(_sides(leaf)) >= rank
    return frozenset(path for path, leaf in leaves.items() if is_kernel(path) and wide(leaf))


def highest_rank(params: Any) -> int:
    """The highest rank for which there are `wide_kernels`; 0 without kernels."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    kernels = [leaf for keys, leaf in leaves if is_kernel(_path(keys)) and leaf.ndim > 1]
    return max((min(_sides(leaf)) for leaf in kernels), default=0)


@no_type_check
def init(
    key: Key[Array, ""], params: Any, rank: int, match: Callable[[str], bool] = is_kernel
) -> Adapters:
    """Adapters of the kernels whose path `match` takes; merged at first they change nothing.

    Args:
      params: the parameters of a network, such as `variables["params"]`.
      rank: of the update of each kernel, at most its smaller side.
      match: of a path such as "Block_0/SelfAttention_0/qkv/kernel".
    Raises ConfigError when nothing matches, or for a rank above a kernel's smaller side.
    """
    key = as_key("key", key)
    check_range("rank", rank, 1, integer=True)
    check_callable("match", match)
    leaves = {_path(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(params)}
    kernels = {path: leaf for path, leaf in leaves.items() if leaf.ndim > 1 and match(path)}
    if not kernels:
        raise ConfigError(f"match takes none of the parameters: {', '.join(leaves)}")
    adapters = {}
    for number, (path, leaf) in enumerate(sorted(kernels.items())):
        ins, outs = _sides(leaf)
        if rank > min(ins, outs):
            raise ConfigError(f"rank={rank} is above the smaller side of {path}: {min(ins, outs)}")
        down = jax.random.normal(jax.random.fold_in(key, number), (ins, rank)) / ins**0.5
        adapters[path] = {"down": down, "up": jnp.zeros((rank, outs))}
    return adapters


@no_type_check
def merge(params: Any, adapters: Adapters, scale: float = 1.0) -> Any:
    """The parameters with `scale` down up added to the adapted kernels, in float32 or wider.

    hu2022 writes the scale as alpha / rank. Raises ConfigError for an adapter of no parameter, or
    of another shape.
    """
    if check_finite("scale", scale) is None:
        raise ConfigError("scale=None must be a finite number")
    merged = set()

    def one(keys: Any, leaf: Array) -> Array:
        path = _path(keys)
        if path not in adapters:
            return leaf
        parts: Any = adapters[path]
        down, up = (parts.get(name) for name in ("down", "up"))
        ins, outs = _sides(leaf)
        rank = jnp.shape(down)[-1:]
        if jnp.shape(down) != (ins, *rank) or jnp.shape(up) != (*rank, outs) or not rank:
            raise ConfigError(
                f"the adapter of {path} is down {shown(down)}, up {shown(up)}; must be "
                f"[{ins}, rank] and [rank, {outs}]"
            )
        merged.add(path)
        update = scale * (down @ up).reshape(leaf.shape)
        wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        return (wide + update).astype(leaf.dtype)

    whole = jax.tree_util.tree_map_with_path(one, params)
    if set(adapters) - merged:
        raise ConfigError(f"adapters of no parameter: {', '.join(sorted(set(adapters) - merged))}")
    return whole
