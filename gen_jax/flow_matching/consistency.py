"""Consistency: points of one trajectory lead to the same data, X(x_t, t, 0) = X(x_s, s, 0)."""

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats, shaped
from gen_jax.axes import expand
from gen_jax.checks import check_order, no_type_check, same_shape
from gen_jax.errors import check_finite, check_range
from gen_jax.flow_matching.flow_map import (
    conditional,
    flow_map,
    mean_square,
    velocity_error,
)
from gen_jax.paths import GaussianPath, velocity
from gen_jax.types import Array, AverageVelocity, Denoiser, Float


@no_type_check
@shaped("t", "s")
def consistency_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
    *,
    teacher: Denoiser | None = None,
    target: AverageVelocity | None = None,
    huber: float = 0.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """d(X(x_t, t, 0), stop_gradient(X(x_s, s, 0))) / (t - s); 0 where s = t.

    The cleaner point x_s belongs to the same data and the same noise (consistency training,
    song2023cm eq. 10), or is one Heun step of `teacher` from x_t (distillation, eq. 7).

    Args:
      average: `(x [B, ...], t [B], s [B]) -> U`; X(x, 0, 0) = x holds by construction.
      target: makes X(x_s, s, 0), `average` by default; or a moving average.
      huber: 0 for the squared error averaged over dimensions; else sqrt(error + huber^2) - huber,
        where huber is the paper's constant over sqrt(D) (song2024ict: 0.00054).
    Raises ConfigError for a negative huber, and for s > t.
    """
    check_finite("huber", check_range("huber", huber, 0))
    check_order(t, s)
    average = same_shape("average", average)
    target = average if target is None else same_shape("target", target)
    x_t, _ = conditional(path, x0, x1, t)
    x_s = conditional(path, x0, x1, s)[0] if teacher is None else _heun(teacher, path, x_t, t, s)
    end = jnp.zeros_like(t)
    wanted = jax.lax.stop_gradient(flow_map(target)(x_s, s, end))
    error = mean_square(flow_map(average)(x_t, t, end) - wanted)
    distance = error if huber == 0 else jnp.sqrt(error + huber**2) - huber
    step = t - s
    return jnp.where(step > 0, distance / jnp.where(step > 0, step, 1), 0), {"error": error}


def _heun(teacher: Denoiser, path: GaussianPath, x: Array, t: Array, s: Array) -> Array:
    """One Heun step of the teacher's ODE, Euler where it ends at the data."""
    field = velocity(teacher, path)
    step = expand(s - t, x)
    first = field(x, t)
    predicted = x + step * first
    inside = jnp.where(s > 0, s, 0.5 * t)
    second = jnp.where(expand(s > 0, x), field(predicted, inside), first)
    return jax.lax.stop_gradient(x + 0.5 * step * (first + second))


@no_type_check
@shaped("t")
def continuous_consistency_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
    *,
    teacher: Denoiser | None = None,
    warmup: float | Array = 1.0,
    normaliser: float = 0.1,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """The limit s -> t: U(x_t, t, 0) moves along g = dX(x_t, t, 0) / dt = u - U - t dU/dt.

    The loss is |U - stop_gradient(U + g / (|g| + normaliser))|^2 (lu2025, eq. 6 and 8), |g| the
    root mean square over dimensions, and its gradient is zero where X is constant along the flow.

    Args:
      teacher: gives the velocity u of the marginals; without it u is the pair's (training).
      warmup: rises from 0 to 1 in training and multiplies t dU/dt, the unstable term.
      normaliser: keeps a small g from being blown up; above 0.
    Returns the loss [B], and |g| [B] under "tangent".
    Raises ConfigError for a normaliser that is not positive.
    """
    check_finite("normaliser", check_range("normaliser", normaliser, 0, open_low=True))
    average = same_shape("average", average)
    x_t, u = conditional(path, x0, x1, t)
    if teacher is not None:
        u = velocity(teacher, path)(x_t, t)
    end = jnp.zeros_like(t)
    tangents = (u, jnp.ones_like(t), end)
    value, slope = jax.jvp(average, (x_t, t, end), tangents)
    g = jax.lax.stop_gradient(u - value - warmup * expand(t, u) * slope)
    norm = jnp.sqrt(mean_square(g))
    wanted = jax.lax.stop_gradient(value) + g / expand(norm + normaliser, g)
    return mean_square(value - wanted), {"tangent": norm}


@no_type_check
@floats(x0="B ...", x1="B ...", t="B", s="B")
def continuous_consistency_steps_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    x1: Float[Array, "B ..."],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
    *,
    matching_weight: float = 1.0,
    warmup: float | Array = 1.0,
    **options,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """`continuous_consistency_loss`, whose jumps end at 0, and flow matching on the diagonal.

    Args:
      s: not used, but s <= t.
      matching_weight: of |U(x_t, t, t) - u|^2, which keeps the diagonal a denoiser.
      warmup, options: of `continuous_consistency_loss`; `flow_map_model` raises `warmup`.
    Returns the sum [B], and "tangent" and "flow_matching".
    Raises ConfigError for a negative weight, and for s > t.
    """
    check_finite("matching_weight", check_range("matching_weight", matching_weight, 0))
    check_order(t, s)
    loss, aux = continuous_consistency_loss(average, path, x0, x1, t, warmup=warmup, **options)
    matching = velocity_error(average, path, x0, x1, t)
    return loss + matching_weight * matching, {**aux, "flow_matching": matching}
