"""Wasserstein distances of finite sets: on a line, by assignment, entropic, and sliced.

W_p^p is the least mean of |x - y|^p over all couplings of the two sets, in data units.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax import safe
from gen_jax.batching import as_rows
from gen_jax.checks import as_array, as_floats, as_key, no_type_check
from gen_jax.divergences.couplings import assign
from gen_jax.divergences.distances import power_of_two
from gen_jax.divergences.sinkhorn import entropic_cost
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
    gap = safe.absolute(jnp.sort(a)[row_a] - jnp.sort(b)[row_b])
    return jnp.sum(jnp.asarray(width, gap.dtype) * gap**p)


def _floats(name: str, x, ndim: int) -> Array:
    x = as_floats(name, x, finite=True)
    if ndim == 2 and x.ndim > 2:
        x = as_rows(x)
    if x.ndim != ndim or x.size == 0:
        raise ConfigError(
            f"{name} has shape {x.shape}; it must be {'[N]' if ndim == 1 else '[N, D]'}"
        )
    return x


def _together(a, b) -> tuple:
    """Both sets, those of the host around the first row of a: only differences count, and as
    float32 they would lose what is small beside a common shift."""
    a, b = as_array("a", a), as_array("b", b)
    on_host = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    if not on_host or not a.size or a.shape[1:] != b.shape[1:] or not a.ndim:
        return a, b
    kept = lambda x: x.dtype if np.issubdtype(x.dtype, np.floating) else np.float64
    centre = a[0].astype(np.float64)
    return (a - centre).astype(kept(a)), (b - centre).astype(kept(b))


def _pair(a, b) -> tuple[Array, Array]:
    """Both as points [N, D] and [M, D]."""
    a, b = _together(a, b)
    a, b = _floats("a", a, 2), _floats("b", b, 2)
    if a.shape[1] != b.shape[1]:
        raise ConfigError(f"a and b have {a.shape[1]} and {b.shape[1]} dimensions; must be equal")
    return a, b


def _masses(name: str, weights, points: Array) -> Array:
    masses = jnp.ones_like(points) if weights is None else _floats(name, weights, 1)
    if masses.shape != points.shape:
        raise ConfigError(f"{name} has shape {masses.shape}, allowed: {points.shape}")
    right = jnp.all((masses >= 0) & jnp.isfinite(masses)) & (masses.sum() > 0)
    if not isinstance(right, jax.core.Tracer) and not right:
        raise ConfigError(
            f"{name} has sum {float(masses.sum()):g} and smallest value "
            f"{float(masses.min()):g}, allowed: masses >= 0 of a positive sum"
        )
    return jnp.where(right, masses, jnp.nan)


def _weighted_power_cost(a: Array, b: Array, weights_a: Array, weights_b: Array, p: float) -> Array:
    """W_p^p of numbers a [N] and b [M] with masses, which are divided by their sums."""

    def quantiles(x, weights):
        order = jnp.argsort(x)
        mass = jnp.cumsum(weights[order])
        return x[order], mass / mass[-1]

    (a, mass_a), (b, mass_b) = quantiles(a, weights_a), quantiles(b, weights_b)
    ends = jnp.concatenate([mass_a, mass_b])
    order = jnp.argsort(ends)
    width = jnp.diff(ends[order], prepend=0)
    # Rows are counted, not searched for: a point of mass 0 has an interval of its own (of width 0),
    # and so its right derivative.
    of_a = order < len(a)
    row = lambda mine, n: jnp.minimum(jnp.cumsum(mine) - mine, n - 1)
    i, j = row(of_a, len(a)), row(~of_a, len(b))
    return jnp.sum(width * safe.absolute(a[i] - b[j]) ** p)


@no_type_check
def wasserstein_1d(
    a: Num[Array | np.ndarray, "..."],
    b: Num[Array | np.ndarray, "..."],
    p: float = 1.0,
    weights_a: Num[Array | np.ndarray, "N"] | None = None,
    weights_b: Num[Array | np.ndarray, "M"] | None = None,
) -> Float[Array, ""]:
    """Exact p-Wasserstein distance of two sets of numbers a [N] and b [M], N and M free.

    W_p^p is the mean of |F_a^-1(q) - F_b^-1(q)|^p over q in [0, 1] (santambrogio2015 prop. 2.17).
    Masses default to equal ones; each set's are divided by their sum, so that only their
    proportions count. Differentiable (0 at equal sets) and jit-able.
    Raises ConfigError for masses that are negative, not finite or all 0; under jit, where they are
    not known, these give NaN.
    """
    check_range("p", p, 1)
    a, b = _together(a, b)
    a, b = _floats("a", a, 1), _floats("b", b, 1)
    unit = power_of_two(a, b)
    if weights_a is None and weights_b is None:
        return unit * safe.root(_power_cost(a / unit, b / unit, p), p)
    masses_a, masses_b = _masses("weights_a", weights_a, a), _masses("weights_b", weights_b, b)
    return unit * safe.root(_weighted_power_cost(a / unit, b / unit, masses_a, masses_b, p), p)


@no_type_check
def distance_cost(
    a: Num[Array | np.ndarray, "..."], b: Num[Array | np.ndarray, "..."], p: float = 2.0
) -> Float[Array, "N M"]:
    """|a_i - b_j|^p [N, M] of points [N, D] and [M, D], by differences: exact where they agree."""
    check_range("p", p, 1)
    a, b = _pair(a, b)
    unit = power_of_two(a, b, power=p)
    return _cost(a / unit, b / unit, p) * unit**p


def _cost(a: Array, b: Array, p: float) -> Array:
    squares = jnp.sum((a[:, None] - b[None]) ** 2, -1)
    if p == 2:
        return squares
    apart = squares > 0  # the root's slope at 0 is infinite
    return jnp.where(apart, jnp.where(apart, squares, 1) ** (p / 2), 0)


@no_type_check
def assignment_wasserstein(
    a: Num[Array | np.ndarray, "..."], b: Num[Array | np.ndarray, "..."], p: float = 1.0
) -> Float[Array, ""]:
    """Exact p-Wasserstein distance of two sets of N points [N, D] each, by the best assignment.

    O(N^3). Differentiable with the assignment held. Raises ConfigError for sets of two sizes.
    """
    check_range("p", p, 1)
    a, b = _pair(a, b)
    unit = power_of_two(a, b)
    cost = _cost(a / unit, b / unit, p)
    if cost.shape[0] != cost.shape[1]:
        raise ConfigError(f"a and b have {cost.shape[0]} and {cost.shape[1]} points; must be equal")
    matched = cost[jnp.arange(len(cost)), assign(jax.lax.stop_gradient(cost))]
    return unit * safe.root(jnp.mean(matched), p)


@no_type_check
def sinkhorn_divergence(
    a: Num[Array | np.ndarray, "..."],
    b: Num[Array | np.ndarray, "..."],
    epsilon: float,
    p: float = 2.0,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
) -> Float[Array, ""]:
    """OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 with entropic costs of |x - y|^p (genevay2018).

    It is zero for equal sets, tends to W_p^p as epsilon (units of the cost) falls, and to half an
    energy distance (p = 1) or the squared distance of the means (p = 2) as it grows. Differentiable
    (see `entropic_cost`).
    """
    check_range("p", p, 1)
    if not isinstance(epsilon, jax.Array):
        check_range("epsilon", epsilon, 0, open_low=True)
    a, b = _pair(a, b)
    unit = power_of_two(a, b, power=p)
    a, b, scaled = a / unit, b / unit, epsilon / unit**p

    def cost(x, y):
        return entropic_cost(
            _cost(x, y, p), scaled, tolerance=tolerance, max_iterations=max_iterations
        )

    return (cost(a, b) - 0.5 * (cost(a, a) + cost(b, b))) * unit**p


@no_type_check
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
    a, b, key = *_pair(a, b), as_key("key", key)
    return _sliced(key, a, b, int(num_projections), float(p))


def _unit(directions: Array) -> Array:
    return directions / jnp.linalg.norm(directions, axis=-1, keepdims=True)


def _projected_cost(a: Array, b: Array, direction: Array, p: float) -> Array:
    """W_p^p of both sets on the line along a unit vector [D]."""
    project = lambda x: jnp.matmul(x, direction, precision="highest")
    return _power_cost(project(a), project(b), p)


@jax.jit(static_argnames=("num_projections", "p"))
def _sliced(key, a, b, num_projections, p):
    directions = _unit(jax.random.normal(key, (num_projections, a.shape[1]), a.dtype))
    unit = power_of_two(a, b)
    cost = lambda u: _projected_cost(a / unit, b / unit, u, p)
    return unit * safe.root(jnp.mean(jax.lax.map(cost, directions, batch_size=16)), p)


@no_type_check
def max_sliced_wasserstein(
    key: Key[Array, ""],
    a: Num[Array | np.ndarray, "..."],
    b: Num[Array | np.ndarray, "..."],
    num_projections: int = 64,
    steps: int = 100,
    p: float = 2.0,
) -> Float[Array, ""]:
    """The largest W_p over directions (deshpande2019): Adam from the best of random ones.

    A local search: never above the true maximum, nor below the best of the `num_projections`.
    Differentiable with the direction held, which is the maximum's derivative (Danskin's theorem).
    In data units; for N(m, S) against N(m', S) it is |m - m'|.
    """
    check_range("num_projections", num_projections, 1, integer=True)
    check_range("steps", steps, 0, integer=True)
    check_range("p", p, 1)
    a, b, key = *_pair(a, b), as_key("key", key)
    return _max_sliced(key, a, b, int(num_projections), int(steps), float(p))


@jax.jit(static_argnames=("num_projections", "steps", "p"))
def _max_sliced(key, a, b, num_projections, steps, p):
    directions = _unit(jax.random.normal(key, (num_projections, a.shape[1]), a.dtype))
    unit = power_of_two(a, b)
    a, b = a / unit, b / unit
    held = jax.lax.stop_gradient((a, b))
    costs = jax.lax.map(lambda u: _projected_cost(*held, u, p), directions, batch_size=16)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, max(steps, 1)))
    objective = jax.value_and_grad(lambda u: -_projected_cost(*held, _unit(u), p))

    def better(best, u, cost):
        return jax.tree.map(lambda old, new: jnp.where(cost > best[1], new, old), best, (u, cost))

    def climb(carry, _):
        u, state, best = carry
        value, gradient = objective(u)
        updates, state = optimizer.update(gradient, state)
        return (_unit(u + updates), state, better(best, u, -value)), None

    u = directions[jnp.argmax(costs)]
    start = (u, optimizer.init(u), (u, jnp.max(costs)))
    u, _, best = jax.lax.scan(climb, start, length=steps)[0]
    u, _ = better(best, u, _projected_cost(*held, u, p))
    return unit * safe.root(_projected_cost(a, b, u, p), p)
