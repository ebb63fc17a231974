"""MeanFlow: the average velocity from its own derivative along the flow.

x + (s - t) U does not change along a trajectory, so that U = u - (t - s) dU/dt with
dU/dt = (dU/dx) u + dU/dt|_x, one jvp with tangents (u, 1, 0) for (x, t, s) (geng2025, eq. 6).
Time runs as in the paper: t = 1 is noise.
"""

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.checks import check_order, no_type_check, same_shape
from gen_jax.errors import check_choice
from gen_jax.flow_matching.flow_map import conditional, mean_square
from gen_jax.paths import GaussianPath
from gen_jax.types import Array, AverageVelocity, Float


@no_type_check
@shaped("t", "s")
def mean_flow_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
    *,
    tangent: str = "conditional",
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """|U - stop_gradient(u - (t - s) dU/dt)|^2 per example, averaged over dimensions.

    Args:
      average: `(x [B, ...], t [B], s [B]) -> U`; it must be differentiable in x and t by `jax.jvp`,
        at t = 1 too (with the same dropout in value and derivative).
      t, s: s <= t; examples with s = t train the velocity alone.
      tangent: along what U is differentiated: "conditional", the velocity of the pair (geng2025),
        or "model", the network's own U(x, t, t), whose variance is smaller (geng2025imf).
    Returns the loss [B], and under "velocity_gap" [B] the error of U(x, t, t) against the pair's
    velocity, which a falling loss says little about.
    Raises ConfigError for an unknown tangent, and for s > t.
    """
    check_choice("tangent", tangent, ("conditional", "model"))
    check_order(t, s)
    average = same_shape("average", average)
    x_t, u = conditional(path, x0, x1, t)
    own = jax.lax.stop_gradient(average(x_t, t, t))
    direction = own if tangent == "model" else u
    tangents = (direction, jnp.ones_like(t), jnp.zeros_like(s))
    value, slope = jax.jvp(average, (x_t, t, s), tangents)
    target = jax.lax.stop_gradient(u - expand(t - s, u) * slope)
    return mean_square(value - target), {"velocity_gap": mean_square(own - u)}
