"""Lagrangian self-distillation: the map's velocity at its end is the flow's (boffi2025, eq. 12).

dX(x, t, s) / ds = u(X(x, t, s), s), with u the network's own U(., s, s), trained by flow matching
in the same loss (terminal velocity matching: zhou2025).
"""

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.checks import check_order, no_type_check, same_shape
from gen_jax.flow_matching.flow_map import (
    conditional,
    flow_map,
    mean_square,
    velocity_error,
)
from gen_jax.paths import GaussianPath
from gen_jax.types import Array, AverageVelocity, Float


@no_type_check
@shaped("t", "s")
def lagrangian_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
    *,
    target: AverageVelocity | None = None,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """|dX/ds - stop_gradient(U(X, s, s))|^2 + |U(x_t, t, t) - u|^2, each averaged over dimensions.

    Args:
      average: `(x [B, ...], t [B], s [B]) -> U`, differentiable in s by `jax.jvp`.
      t, s: s <= t.
      target: gives the velocity at X, `average` by default; or a moving average.
    Returns the sum [B], and both terms under "distillation" and "flow_matching".
    """
    average = same_shape("average", average)
    target = average if target is None else same_shape("target", target)
    check_order(t, s)
    x_t, _ = conditional(path, x0, x1, t)
    moved = lambda s: flow_map(average)(x_t, t, s)
    end, speed = jax.jvp(moved, (s,), (jnp.ones_like(s),))
    wanted = jax.lax.stop_gradient(target(jax.lax.stop_gradient(end), s, s))
    distillation = mean_square(speed - wanted)
    matching = velocity_error(average, path, x0, x1, t)
    terms = {"distillation": distillation, "flow_matching": matching}
    return distillation + matching, terms
