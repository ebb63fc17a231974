"""What a few-step model learns in place of the pairs' own velocity: a guided one, a teacher's.

Losses read a pair (x0, x1) by its point x_t and its velocity there, so that another pair through
x_t with the wanted velocity serves all of them.
"""

import jax
import jax.numpy as jnp

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.checks import no_type_check, same_shape
from gen_jax.diffusion.time_sampling import off_the_steep
from gen_jax.flow_matching.flow_map import conditional
from gen_jax.parameterisations import pair
from gen_jax.paths import GaussianPath, as_path, coefficients, velocity
from gen_jax.types import Array, AverageVelocity, Denoiser, Float

Pairs = tuple[Float[Array, "B ..."], Float[Array, "B ..."]]


@no_type_check
@shaped("t")
def guided_pairs(
    null: AverageVelocity,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
    guidance: float | Float[Array, "B"],
) -> Pairs:
    """Pairs through the same x_t with velocity w u + (1 - w) U(x_t, t, t) of `null`, held fixed.

    Their mean at x_t is the velocity of classifier-free guidance of weight w, so that one call per
    step samples with it (geng2025, section 4.2).

    Args:
      null: the model's average velocity with its condition hidden.
    """
    x_t, u = conditional(path, x0, x1, t)
    w = expand(jnp.asarray(guidance, u.dtype), u)
    unguided = jax.lax.stop_gradient(same_shape("null", null)(x_t, t, t))
    return _through(path, x_t, t, w * u + (1 - w) * unguided)


@no_type_check
@shaped("t")
def taught_pairs(
    teacher: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
) -> Pairs:
    """Pairs through the same x_t with the velocity of a trained denoiser, for t > 0."""
    x_t, _ = conditional(path, x0, x1, t)
    path = as_path(path)
    t = off_the_steep(path, t)
    return _through(path, x_t, t, jax.lax.stop_gradient(velocity(teacher, path)(x_t, t)))


def _through(path: GaussianPath, x: Array, t: Array, u: Array) -> Pairs:
    path = as_path(path)
    return pair(u, x, coefficients(path, off_the_steep(path, t)), "velocity")
