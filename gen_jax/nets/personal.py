"""A trained class-conditional network with one class more, that of an instance (ruiz2023)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.errors import ConfigError, check_finite, check_range
from gen_jax.nets import lora
from gen_jax.nets.adapters import FunctionNetwork, from_functions
from gen_jax.nets.control import check_layers
from gen_jax.types import Array, Float, Key


def _is_table(path: Any) -> bool:
    return jax.tree_util.keystr(path, simple=True, separator="/").endswith("/label")


def _table(params: Any) -> Float[Array, "L E"]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    tables = [leaf for path, leaf in leaves if _is_table(path)]
    if len(tables) != 1:
        raise ConfigError(f"params hold {len(tables)} tables of labels, must hold one")
    return tables[0]


@no_type_check
def with_class(params: Any, row: int | Float[Array, " E"]) -> Any:
    """Parameters with one class more, before the row that means "no label".

    Args:
      params: of a network whose labels have one table, `label` [K + 1, E].
      row: the new class's own [E], or the number of the class that it is a copy of.
    Raises ConfigError for parameters without a table of labels, for another class than 0 to K - 1,
    and for a row of another length.
    """
    table = _table(params)
    if not isinstance(row, jax.Array | np.ndarray):
        row = table[check_range("row", row, 0, len(table) - 2, integer=True)]
    if row.shape != table.shape[1:]:
        raise ConfigError(f"row has shape {list(row.shape)}, must be {list(table.shape[1:])}")
    wide = jnp.concatenate([table[:-1], row[None].astype(table.dtype), table[-1:]])
    return jax.tree_util.tree_map_with_path(lambda p, x: wide if _is_table(p) else x, params)


@no_type_check
def personal(
    network: Any, base: Any, like: int, rank: int = 4, scale: float = 1.0
) -> FunctionNetwork:
    """The network with class K added, at first a copy of class `like`; the base stays.

    Its parameters are {"label": the class's row, "adapters": of all kernels whose sides are no
    smaller than the rank}; with rank 0 all those of the network.

    Args:
      network: made for K + 1 classes.
      base: the parameters of the trained network of K classes, `variables["params"]` of it.
      scale: of the adapters, see `lora.merge`.
    Raises ConfigError as `with_class`, and for a rank above every kernel's smaller side; its `init`
    for a network with other layers than the base.
    """
    check_range("rank", rank, 0, lora.highest_rank(base), integer=True)
    check_finite("scale", scale)
    start = with_class(base, check_range("like", like, 0, integer=True))
    wide = lora.wide_kernels(base, rank)

    def init(key: Key[Array, ""], *inputs: Any) -> Any:
        fits = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
        check_layers("base with one class more: ", start, fits)
        if rank == 0:
            return start
        row = _table(start)[-2].astype(jnp.float32)
        return {"label": row, "adapters": lora.init(key, base, rank, wide.__contains__)}

    def apply(own: Any, *inputs: Any) -> Any:
        if rank == 0:
            return network.apply({"params": own}, *inputs)
        params = lora.merge(with_class(base, own["label"]), own["adapters"], scale)
        return network.apply({"params": params}, *inputs)

    return from_functions(init, apply)
