"""Inductive moment matching (zhou2025imm): jumps from t and from r < t to s have the same law."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.batching import as_rows
from gen_jax.checks import check_order, no_type_check, same_shape
from gen_jax.errors import ConfigError, check_finite, check_range
from gen_jax.flow_matching.flow_map import conditional, flow_map, velocity_error
from gen_jax.paths import GaussianPath
from gen_jax.types import Array, AverageVelocity, Float


@no_type_check
@shaped("t", "r", "s")
def moment_matching_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
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
    check_order(t, r)
    check_order(r, s)
    if x0.shape[0] % group:
        raise ConfigError(f"group={group} must divide the batch of {x0.shape[0]} examples")
    average = same_shape("average", average)
    target = average if target is None else same_shape("target", target)
    shared = lambda time: jnp.repeat(time[::group], group)
    t, r, s = shared(t), shared(r), shared(s)
    x_t, x_r = conditional(path, x0, x1, t)[0], conditional(path, x0, x1, r)[0]
    a = flow_map(average)(x_t, t, s)
    b = jax.lax.stop_gradient(flow_map(target)(x_r, r, s))
    grouped = lambda x: as_rows(x).reshape(len(x) // group, group, math.prod(x.shape[1:]))
    a, b = grouped(a), grouped(b)
    mean = lambda p, q: jnp.mean(jax.vmap(_laplace)(p, q), axis=(1, 2))
    discrepancy = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    return jnp.repeat(discrepancy, group), {}


@no_type_check
@shaped("t", "s")
def moment_matching_steps_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
    *,
    step: float = 1 / 16,
    matching_weight: float = 1.0,
    group: int = 4,
    target: AverageVelocity | None = None,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """`moment_matching_loss` with r = max(s, t - step), and flow matching on the diagonal.

    Where t - s <= step the law to be met is that of x_s itself, from which longer jumps learn.

    Args:
      matching_weight: of |U(x_t, t, t) - u|^2, which keeps the diagonal a denoiser.
      group, target: of `moment_matching_loss`.
    Returns the sum [B], and both terms under "discrepancy" and "flow_matching".
    """
    check_range("step", step, 0, 1, open_low=True)
    check_finite("matching_weight", check_range("matching_weight", matching_weight, 0))
    check_order(t, s)
    average, r = same_shape("average", average), jnp.maximum(s, t - step)
    options: Any = {"group": group, "target": target}
    discrepancy, _ = moment_matching_loss(average, path, x0, x1, t, r, s, **options)
    matching = velocity_error(average, path, x0, x1, t)
    terms = {"discrepancy": discrepancy, "flow_matching": matching}
    return discrepancy + matching_weight * matching, terms


def _laplace(a: Float[Array, "M D"], b: Float[Array, "M D"]) -> Float[Array, "M M"]:
    square = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
    # The distance of a point to itself has no derivative: it is taken to be 0.
    distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return jnp.exp(-distance / a.shape[1])
