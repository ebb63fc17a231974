"""Inductive moment matching (zhou2025imm): jumps from t and from r < t to s have the same law."""

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError, check_range
from gen_jax.flow_matching.flow_map import conditional, flow_map
from gen_jax.paths import GaussianPath
from gen_jax.types import Array, AverageVelocity, Float


def moment_matching_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    x1: Float[Array, "B ..."],
    t: Float[Array, "B"],
    r: Float[Array, "B"],
    s: Float[Array, "B"],
    *,
    group: int = 4,
    target: AverageVelocity | None = None,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """Squared maximum mean discrepancy between X(x_t, t, s) and stop_gradient(X(x_r, r, s)).

    Laplace kernel exp(-|a - b| / D) in groups of `group` examples in a row (zhou2025imm, eq. 12,
    without its weights of t); each group's value stands at each of its examples.
    Examples of a group depend on each other.

    Args:
      t, r, s: s <= r <= t, equal within a group: the first of each group is taken for all.
      target: makes X(x_r, r, s), `average` by default; or a moving average.
    Raises ConfigError when groups do not fill the batch, and for groups of one.
    """
    check_range("group", group, 2, integer=True)
    if x0.shape[0] % group:
        raise ConfigError(f"group={group} must divide the batch of {x0.shape[0]} examples")
    target = average if target is None else target
    shared = lambda time: jnp.repeat(time[::group], group)
    t, r, s = shared(t), shared(r), shared(s)
    x_t, x_r = conditional(path, x0, x1, t)[0], conditional(path, x0, x1, r)[0]
    a = flow_map(average)(x_t, t, s)
    b = jax.lax.stop_gradient(flow_map(target)(x_r, r, s))
    grouped = lambda x: x.reshape(-1, group, x[0].size)
    a, b = grouped(a), grouped(b)
    mean = lambda p, q: jnp.mean(jax.vmap(_laplace)(p, q), axis=(1, 2))
    discrepancy = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    return jnp.repeat(discrepancy, group), {}


def _laplace(a: Float[Array, "M D"], b: Float[Array, "M D"]) -> Float[Array, "M M"]:
    square = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
    # The distance of a point to itself has no derivative: it is taken to be 0.
    distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return jnp.exp(-distance / a.shape[1])
