"""Drifting: one-step generators that move their samples by a mean shift (deng2026).

V(x) = mean shift towards the data - mean shift towards the other samples; the generator regresses
on x + V. For a Gaussian kernel of width h, V = h^2 grad(log KDE of the data - log KDE of the
samples), which vanishes where the two agree.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.batching import as_rows, check_rows
from gen_jax.checks import no_type_check, same_shape
from gen_jax.errors import ConfigError, check_choice, check_finite, check_range
from gen_jax.flow_matching.flow_map import flow_map, mean_square, velocity_error
from gen_jax.paths import GaussianPath
from gen_jax.types import Array, AverageVelocity, Float

COSTS: dict[str, Callable] = {
    "laplace": lambda square, h: (jnp.sqrt(jnp.maximum(square, 1e-30)), (h,)),
    "gaussian": lambda square, h: (0.5 * square, (h, h)),
}
"""-log k of a squared distance and a temperature h, in units of the data: a number, and what it is
divided by."""


def _mean_shift(x: Array, points: Array, cost_of: Callable, skip_same: bool) -> Array:
    """sum_j k(x_i, p_j) (p_j - x_i) / sum_j k(x_i, p_j) for x [n, D] and points [m, D].

    However narrow the kernel: towards the nearest point at the last.
    """
    square = jnp.sum((x[:, None] - points[None]) ** 2, axis=-1)
    cost, divisors = cost_of(square)
    if skip_same:
        cost = jnp.where(jnp.eye(len(x), dtype=bool), jnp.inf, cost)
    above = cost - jax.lax.stop_gradient(jnp.min(cost, axis=1, keepdims=True))
    for divisor in divisors:
        above = above / jnp.maximum(divisor, jnp.finfo(above.dtype).tiny)
    weights = jax.nn.softmax(-above, axis=1)
    return weights @ points - x


@shaped()
def drift(
    x: Float[Array, "n *D"],
    positives: Float[Array, "m *D"],
    negatives: Float[Array, "k *D"],
    temperature: float,
    kernel: str = "laplace",
    *,
    exclude_same: bool = False,
) -> Float[Array, "n *D"]:
    """Mean shift towards `positives` minus mean shift towards `negatives`, at each x.

    Args:
      temperature: width of the kernel, in units of the data.
      kernel: a name in COSTS: exp(-|d| / h), or exp(-|d|^2 / (2 h^2)).
      exclude_same: leave out negative i at x_i, for negatives that are x itself.
    Raises ConfigError for an unknown kernel, a temperature that is not positive, and nothing left
    after the exclusion.
    """
    check_choice("kernel", kernel, COSTS)
    check_finite("temperature", check_range("temperature", temperature, 0, open_low=True))
    for name, points in (("positives", positives), ("negatives", negatives)):
        check_rows(name, points)
    if exclude_same and (negatives.shape[0] != x.shape[0] or x.shape[0] < 2):
        raise ConfigError(
            f"exclude_same needs as many negatives as x, and at least 2, got {negatives.shape[0]} "
            f"and {x.shape[0]}"
        )
    cost_of = lambda square: COSTS[kernel](square, temperature)
    towards = _mean_shift(as_rows(x), as_rows(positives), cost_of, False)
    away = _mean_shift(as_rows(x), as_rows(negatives), cost_of, exclude_same)
    return (towards - away).reshape(x.shape)


@shaped()
def drifting_loss(
    generated: Float[Array, "B *D"],
    data: Float[Array, "m *D"],
    temperature: float,
    kernel: str = "laplace",
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """|x - stop_gradient(x + V(x))|^2 per sample, averaged over dimensions.

    Its value is |V|^2. Samples of a batch depend on each other; a sample does not repel itself.
    Raises ConfigError for a batch of one, and what `drift` refuses.
    """
    if generated.shape[0] < 2:
        raise ConfigError("generated must hold at least 2 samples: they repel each other")
    moved = drift(generated, data, generated, temperature, kernel, exclude_same=True)
    wanted = jax.lax.stop_gradient(generated + moved)
    return mean_square(generated - wanted), {}


@no_type_check
@shaped("t", "s")
def drifting_map_loss(
    average: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
    s: Float[Array, "B"],
    *,
    temperature: float = 0.1,
    kernel: str = "laplace",
    matching_weight: float = 1.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """`drifting_loss` of the one jump X(x_1, 1, 0), and flow matching on the diagonal U(x, t, t).

    Args:
      temperature: over the square root of the number of dimensions D: sqrt(D) times it is the
        kernel's width, in units of the data.
      s: not read: only the jump over the whole path is trained.
      matching_weight: of |U(x_t, t, t) - u|^2, which keeps the diagonal a denoiser.
    Returns the sum [B], and both terms under "drift" and "flow_matching".
    Raises ConfigError for a batch of one.
    """
    del s
    check_finite("matching_weight", check_range("matching_weight", matching_weight, 0))
    average = same_shape("average", average)
    matching = velocity_error(average, path, x0, x1, t)
    one = jnp.ones_like(t)
    start = expand(path.sigma(one), x1) * x1
    generated = flow_map(average)(start, one, jnp.zeros_like(t))
    width = temperature * math.prod(x0.shape[1:]) ** 0.5
    drifted, _ = drifting_loss(generated, x0, width, kernel)
    terms = {"drift": drifted, "flow_matching": matching}
    return drifted + matching_weight * matching, terms
