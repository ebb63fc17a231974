"""The leaves of a state: as Orbax can save them, in words, and which of them are not finite."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.digest import digest
from gen_jax.types import State


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def plain_leaf(x: Any) -> Any:
    """A leaf as Orbax can save it: keys as the integers they are made of, nothing empty."""
    data = jax.random.key_data(x) if _is_key(x) else x
    return data if data.size else jnp.zeros((1,), data.dtype)


def unplain_leaf(data: Any, like: Any) -> Any:
    """The inverse of `plain_leaf`, given an array or abstract array of the same form."""
    if not like.size:
        return jnp.zeros(like.shape, like.dtype, device=getattr(like, "sharding", None))
    if not _is_key(like):
        return data
    generators = []
    jax.eval_shape(lambda key: generators.append(jax.random.key_impl(key)), like)
    return jax.random.wrap_key_data(data, impl=generators[0])


def abstract(template: State) -> State:
    """Shapes, dtypes and shardings of the plain leaves, from arrays or abstract arrays."""

    def leaf(x):
        sharding = getattr(x, "sharding", None)
        sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
        x = jax.eval_shape(plain_leaf, jax.ShapeDtypeStruct(x.shape, x.dtype))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map(leaf, template)


def describe(state: State) -> dict[str, str]:
    """Path of each leaf -> its shape and dtype, in words."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in leaves}


def digest_of_state(state: State) -> str:
    """`data.digest` of the bytes of all arrays, one after another."""
    raw = lambda x: np.asarray(jax.random.key_data(x) if _is_key(x) else x)
    leaves = [np.ascontiguousarray(raw(x)).reshape(-1) for x in jax.tree.leaves(state)]
    return digest(np.concatenate([leaf.view(np.uint8) for leaf in leaves]))


@jax.jit
def _holds(x: Any) -> dict[str, Any]:
    """Whether an array holds a NaN, and whether an infinity."""
    return {"nan": jnp.isnan(x).any(), "inf": jnp.isinf(x).any()}


def _leaves_with(state: State) -> dict[str, frozenset[str]]:
    """Names of the leaves that hold a NaN ("nan"), and of those that hold an infinity ("inf")."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    inexact = [(path, x) for path, x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]
    held = {jax.tree_util.keystr(path): _holds(x) for path, x in inexact}
    return {
        what: frozenset(name for name, found in held.items() if bool(np.asarray(found[what])))
        for what in ("nan", "inf")
    }


def infinite_leaves(state: State) -> frozenset[str]:
    """Names of the leaves that hold an infinity: at the start, those that may (a best so far)."""
    return _leaves_with(state)["inf"]


def damaged_leaves(state: State, may_be_infinite: frozenset[str]) -> list[str]:
    """Names of the leaves that hold a NaN, or an infinity where there must be none."""
    found = _leaves_with(state)
    return sorted(found["nan"] | (found["inf"] - may_be_infinite))


def is_deleted(state: State) -> bool:
    """Whether a buffer of the state is gone, given away to a call that failed."""
    return any(getattr(leaf, "is_deleted", lambda: False)() for leaf in jax.tree.leaves(state))
