"""The chains that give an energy's negative samples: Langevin runs of a few steps."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.checks import per_point
from gen_jax.errors import check_range
from gen_jax.mcmc import advance, langevin
from gen_jax.types import Array, Bool, Float, Key


class Negatives(NamedTuple):
    """Where chains ended.

    Fields:
      x: [B, ...].
      valid: chains that met no energy or gradient of NaN or infinity [B].
    """

    x: Float[Array, "B ..."]
    valid: Bool[Array, "B"]


@jax.custom_vjp
def _clip(x: Array, limit: Array) -> Array:
    """x; the gradient that comes back through it is cut to the norm `limit`, per example."""
    return x


def _clip_backward(limit, gradient):
    square = jnp.sum(gradient**2, axis=tuple(range(1, gradient.ndim)), keepdims=True)
    return gradient * jnp.minimum(1, limit / jnp.sqrt(jnp.maximum(square, 1e-30))), None


_clip.defvjp(lambda x, limit: (x, limit), _clip_backward)


def run_chains(
    key: Key[Array, "*batch"],
    energy: Callable[[Array], Array],
    x: Float[Array, "B ..."],
    *,
    num_steps: int,
    step_size: float,
    temperature: float = 1.0,
    clip: float | None = None,
) -> Negatives:
    """x' = x - h grad E(x) + sqrt(2 h T) z, `num_steps` times (du2019 eq. 1, nijkamp2019).

    At T = 1 unadjusted Langevin for exp(-E), drift h and noise sqrt(2 h); another T samples
    exp(-E / T). The much used h = 1 with noise 0.01 is T = 5e-5: nearly a descent, no sampler of
    the model (grathwohl2020, section 4). A chain that meets NaN or infinity stays where it is and
    is marked.

    Args:
      key: one key, or one per chain [B].
      x: where the chains start; none of them touches another.
      step_size: h > 0, a variance in the units of x.
      clip: largest norm of the gradient, or None; a clipped chain keeps no known density.
    Raises ConfigError for numbers out of range.
    """
    check_range("num_steps", num_steps, 1, integer=True)
    check_range("temperature", temperature, 0, open_low=True)
    if clip is not None:
        check_range("clip", clip, 0, open_low=True)
    measured = per_point("energy", energy)
    bound = None if clip is None else jnp.asarray(clip / temperature, x.dtype)

    def tempered(x: Array) -> Array:
        return -measured(x if bound is None else _clip(x, bound)) / temperature

    kernel = langevin(tempered, step_size * temperature)
    start = jax.jit(kernel.init)(x)  # which eagerly refuses starts that are marked here
    state, sums = advance(key, kernel, start, num_steps)
    everywhere = lambda x: jnp.isfinite(x).reshape(len(x), -1).all(1)
    finite = everywhere(start.log_density) & everywhere(start.gradient) & everywhere(state.x)
    # Unadjusted Langevin makes every step but those to a density of 0, NaN or infinity.
    valid = finite & everywhere(state.log_density) & (sums.accepted == num_steps)
    stays = finite.reshape(-1, *[1] * (x.ndim - 1))
    return Negatives(jnp.where(stays, state.x, x), valid)
