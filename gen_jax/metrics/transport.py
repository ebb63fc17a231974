"""Wasserstein distances that sorting solves: on a line, and averaged over random lines (sliced)."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Key, Num


def _quantile_cells(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells on which the quantile functions of n and m points are constant: width and both rows."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    starts = np.concatenate([[0], ends[:-1]])
    return (ends - starts) / (n * m), starts // m, starts // n


def _power_cost(a: Array, b: Array, p: float) -> Array:
    """W_p^p of two sets of numbers a [N] and b [M]."""
    width, row_a, row_b = _quantile_cells(len(a), len(b))
    gap = jnp.abs(jnp.sort(a)[row_a] - jnp.sort(b)[row_b])
    return jnp.sum(jnp.asarray(width, gap.dtype) * gap**p)


def _floats(name: str, x, ndim: int) -> Array:
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
    if ndim == 2 and x.ndim > 2:
        x = x.reshape(len(x), -1)
    if x.ndim != ndim or x.size == 0:
        raise ConfigError(
            f"{name} has shape {x.shape}; it must be {'[N]' if ndim == 1 else '[N, D]'}"
        )
    return x


def wasserstein_1d(
    a: Num[Array | np.ndarray, "..."], b: Num[Array | np.ndarray, "..."], p: float = 1.0
) -> Float[Array, ""]:
    """Exact p-Wasserstein distance of two sets of numbers a [N] and b [M], N and M free.

    W_p^p is the mean of |F_a^-1(q) - F_b^-1(q)|^p over q in [0, 1] (santambrogio2015 prop. 2.17).
    Differentiable and jit-able.
    """
    check_range("p", p, 1)
    return _power_cost(_floats("a", a, 1), _floats("b", b, 1), p) ** (1 / p)


def sliced_wasserstein(
    key: Key[Array, ""],
    a: Num[Array | np.ndarray, "..."],
    b: Num[Array | np.ndarray, "..."],
    num_projections: int = 128,
    p: float = 2.0,
) -> Float[Array, ""]:
    """Sliced p-Wasserstein distance (rabin2011): (mean over directions of W_p^p)^(1/p).

    Args:
      a, b: points [N, D] and [M, D]; trailing axes are flattened.
      num_projections: random directions, uniform on the sphere; the same key gives the same
        directions for any a, b.
    In data units. For N(m, S) against N(m', S) with p = 2 it is |m - m'| / sqrt(D). Unlike a kernel
    distance it does not vanish for two finite sets of one law: compare with `calibrate`.
    """
    check_range("num_projections", num_projections, 1, integer=True)
    check_range("p", p, 1)
    a, b = _floats("a", a, 2), _floats("b", b, 2)
    if a.shape[1] != b.shape[1]:
        raise ConfigError(f"a and b have {a.shape[1]} and {b.shape[1]} dimensions; must be equal")
    return _sliced(key, a, b, int(num_projections), float(p))


@jax.jit(static_argnames=("num_projections", "p"))
def _sliced(key, a, b, num_projections, p):
    directions = jax.random.normal(key, (num_projections, a.shape[1]), a.dtype)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    project = lambda x, u: jnp.matmul(x, u, precision="highest")
    cost = lambda u: _power_cost(project(a, u), project(b, u), p)
    return jnp.mean(jax.lax.map(cost, directions, batch_size=16)) ** (1 / p)
