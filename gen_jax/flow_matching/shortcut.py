"""Shortcut models: one long step equals two of half the length (frans2025)."""

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.checks import check_order, no_type_check, same_shape
from gen_jax.flow_matching.flow_map import conditional, flow_map, mean_square
from gen_jax.paths import GaussianPath
from gen_jax.types import Array, AverageVelocity, Float


@no_type_check
@shaped("t", "s")
def shortcut_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
    *,
    target: AverageVelocity | None = None,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """|U(x, t, s) - stop_gradient([U(x, t, m) + U(X_m, m, s)] / 2)|^2 with m = (t + s) / 2.

    Where s = t the target is the pair's velocity (flow matching). Errors are means over dimensions.

    Args:
      average: `(x [B, ...], t [B], s [B]) -> U`.
      t, s: s <= t. A sampler may take the steps t - s seen here, and no others.
      target: makes the two halves, `average` by default; a moving average is steadier.
    """
    average = same_shape("average", average)
    target = average if target is None else same_shape("target", target)
    check_order(t, s)
    x_t, u = conditional(path, x0, x1, t)
    middle = 0.5 * (t + s)
    first = target(x_t, t, middle)
    second = target(flow_map(target)(x_t, t, middle), middle, s)
    wanted = jnp.where(expand(t == s, u), u, 0.5 * (first + second))
    return mean_square(average(x_t, t, s) - jax.lax.stop_gradient(wanted)), {}
