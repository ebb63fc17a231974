"""Ancestral sampling: parents before children (S2, "High-dimensional sampling").

Markov chains, p(x_1) prod p(x_t | x_(t-1)), and Bayesian networks whose graph is a tree (or
several), p(x) = prod p(x_i | x_parent(i)). Discrete draws take one uniform for each variable.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.annotations import floats
from gen_jax.checks import as_key
from gen_jax.errors import ConfigError, check_range
from gen_jax.sampling.categorical import categorical
from gen_jax.types import Array, Float, Int, Key, Num


@floats(u="*N T", initial="K", transition="K K")
def markov_chain(
    u: Float[Array, "*N T"], initial: Float[Array, "K"], transition: Float[Array, "K K"]
) -> Int[Array, "*N T"]:
    """Paths of T states: x_1 ~ initial, x_t ~ transition[x_(t-1)]; weights as `categorical`'s."""
    check_range("T", u.shape[-1], 1, integer=True)

    def advance(state, u_t):
        state = categorical(u_t, transition[state])
        return state, state

    by_time = jnp.moveaxis(u, -1, 0)
    first = categorical(by_time[0], initial)
    _, rest = jax.lax.scan(advance, first, by_time[1:])
    return jnp.moveaxis(jnp.concatenate([first[None], rest]), 0, -1)


def chain(
    key: Key[Array, ""],
    initial: Callable[[Array], Any],
    transition: Callable[[Array, Any], Any],
    num_steps: int,
) -> Any:
    """One path of any Markov chain, [num_steps, ...]; many by `jax.vmap` over keys.

    Args:
      initial: `key -> x_1`, an array or a pytree.
      transition: `(key, x) -> next x`, of the same shapes and dtypes.
    Raises ConfigError when it is not, and for num_steps < 1.
    """
    check_range("num_steps", num_steps, 1, integer=True)
    key_initial, key_steps = jax.random.split(as_key("key", key))
    advance = lambda x, key: (transition(key, x), x)
    keys = jax.random.split(key_steps, num_steps)
    first = jax.tree.map(jnp.asarray, initial(key_initial))
    form = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), tree)
    given, returned = form(first), form(jax.eval_shape(transition, key, first))
    if given != returned:
        raise ConfigError(f"transition returned {returned}, must return what it is given, {given}")
    return jax.lax.scan(advance, first, keys)[1]


class Tree(NamedTuple):
    """A tree-structured Bayesian network of D variables with up to K values each.

    Fields:
      order: variables [D], parents before children.
      parents: of each variable [D]; a root is its own parent.
      tables: [D, K, K]: row j is p(x_i | x_parent = j), padded with zeros; a root's rows are equal.
    """

    order: Int[np.ndarray, "D"]
    parents: Int[np.ndarray, "D"]
    tables: Float[np.ndarray, "D K K"]


def tree(parents: Sequence[int], tables: Sequence[Any]) -> Tree:
    """A network from each variable's parent (-1: none) and table, in any order.

    Args:
      tables: [K_i] for a root, else [K_parent, K_i]; rows are probabilities.
    Raises ConfigError for a cycle, an unknown parent, shapes that do not fit and rows that do not
    sum to 1.
    """
    if len(parents) != len(tables) or not len(parents):
        raise ConfigError(f"{len(parents)} parents and {len(tables)} tables, allowed: one each")
    order = _topological(parents)
    arrays = [_table(i, table) for i, table in enumerate(tables)]
    sizes = [array.shape[-1] for array in arrays]
    stacked = np.zeros((len(arrays), max(sizes), max(sizes)))
    for i, (parent, array) in enumerate(zip(parents, arrays)):
        expected = (sizes[i],) if parent < 0 else (sizes[parent], sizes[i])
        if array.shape != expected:
            raise ConfigError(f"table {i} has shape {array.shape}, allowed: {expected}")
        if (array < 0).any() or not np.allclose(array.sum(-1), 1, atol=1e-5):
            raise ConfigError(f"table {i} has rows that are not probabilities")
        # Rows of values that the parent cannot take are never read, but must not be empty.
        stacked[i, :, 0] = 1
        rows = slice(None) if parent < 0 else slice(sizes[parent])
        stacked[i, rows] = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, max(sizes) - sizes[i])])
    own = np.arange(len(arrays))
    return Tree(order, np.where(np.asarray(parents) < 0, own, parents), stacked)


def _table(index: int, table: Any) -> np.ndarray:
    try:
        array = np.asarray(table, np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"table {index} must be rows of equally many numbers") from None
    if array.ndim not in (1, 2):
        raise ConfigError(f"table {index} has shape {array.shape}, allowed: [K] or [K, K]")
    return array


def _topological(parents: Sequence[int]) -> np.ndarray:
    depths = []
    for i, start in enumerate(parents):
        node, depth = start, 0
        while node >= 0:
            if node >= len(parents) or depth >= len(parents):
                raise ConfigError(f"variable {i} has an unknown ancestor or is its own ancestor")
            node, depth = parents[node], depth + 1
        depths.append(depth)
    return np.argsort(depths, kind="stable")


@floats(u="*N D")
def sample_tree(u: Float[Array, "*N D"], network: Tree) -> Int[Array, "*N D"]:
    """Draws of all variables, in the order of `network.order`, by one scan over them.

    Raises ConfigError unless there is a uniform for each of the D variables.
    """
    if u.shape[-1] != len(network.order):
        raise ConfigError(f"u has shape {u.shape}, must be [*N, D], D = {len(network.order)}")
    tables = jnp.asarray(network.tables, u.dtype)
    parents, u_first = jnp.asarray(network.parents), jnp.moveaxis(u, -1, 0)

    def draw(x, i):
        return x.at[i].set(categorical(u_first[i], tables[i][x[parents[i]]])), None

    start = jnp.zeros(u_first.shape, jnp.int32)
    return jnp.moveaxis(jax.lax.scan(draw, start, jnp.asarray(network.order))[0], 0, -1)


def tree_marginals(network: Tree) -> Float[Array, "D K"]:
    """p(x_i) of every variable, exactly, by one pass from the roots to the leaves."""
    tables, parents = jnp.asarray(network.tables), jnp.asarray(network.parents)
    dim, size = tables.shape[:2]

    def push(marginals, i):
        return marginals.at[i].set(marginals[parents[i]] @ tables[i]), None

    start = jnp.zeros((dim, size), tables.dtype).at[:, 0].set(1)  # a root's rows are equal
    return jax.lax.scan(push, start, jnp.asarray(network.order))[0]


def tree_log_prob(x: Num[Array, "..."], network: Tree) -> Float[Array, "*N"]:
    """log p(x) = sum_i log p(x_i | x_parent(i)) in nats; -inf for values that no variable takes.

    Raises ConfigError unless x are integers [*N, D].
    """
    x, dim = jnp.asarray(x), len(network.order)
    if x.shape[-1:] != (dim,) or not jnp.issubdtype(x.dtype, jnp.integer):
        raise ConfigError(f"x is {x.dtype} of shape {x.shape}, must be integers [*N, D], D = {dim}")
    tables = jnp.asarray(network.tables)
    inside = (x >= 0) & (x < tables.shape[-1])
    x = jnp.where(inside, x, 0)
    of_parents = x[..., jnp.asarray(network.parents)]
    terms = jnp.log(tables[jnp.arange(dim), of_parents, x])
    return jnp.sum(jnp.where(inside, terms, -jnp.inf), -1)
