"""Conditional flow matching (lipman2023; tong2024 for couplings): regress the conditional velocity.

    x_t = alpha(t) x0 + sigma(t) x1,   target = alpha'(t) x0 + sigma'(t) x1,

x0 data, x1 the source (time runs from data to source: papers use 1 - t and the other sign). For the
linear path the target is x1 - x0, the difference of source and data.
"""

from collections.abc import Callable

from gen_jax.annotations import shaped
from gen_jax.diffusion import denoising_loss
from gen_jax.paths import GaussianPath
from gen_jax.types import Array, Float


@shaped("t")
def conditional_flow_matching_loss(
    velocity: Callable[[Array, Array], Array],
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    x1: Float[Array, "B *D"],
    t: Float[Array, "B"],
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """Squared error of a velocity per example, averaged over dimensions: (loss [B], aux).

    The pairs (x0, x1) may have any joint law; its minimiser is the marginal velocity
    E[alpha' x0 + sigma' x1 | x_t].
    """
    return denoising_loss(velocity, path, x0, x1, t, prediction="velocity")
