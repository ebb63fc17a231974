"""NCSN: one score network for a ladder of noise levels, sampled by annealed Langevin (song2019).

The pieces are diffusion's: denoising score matching on the variance-exploding path, whose uniform
grid in t is a geometric ladder of noise levels, and the stepper `annealed_langevin`.
"""

import jax
import optax

from gen_jax.checks import no_type_check
from gen_jax.diffusion import annealed_langevin, diffusion
from gen_jax.errors import check_range
from gen_jax.model import GenerativeModel
from gen_jax.paths import GaussianPath, ve
from gen_jax.types import Array, Float, Key


def ladder(levels: int):
    """A density of training times: one of `levels` equally spaced ones, each as likely."""
    check_range("levels", levels, 2, integer=True)

    def times(key: Key[Array, ""], path: GaussianPath, n: int) -> Float[Array, "n"]:
        return jax.random.randint(key, (n,), 0, levels) / (levels - 1)

    return times


@no_type_check
def ncsn(
    network,
    optimizer: optax.GradientTransformation,
    *,
    levels: int = 100,
    sigma_min: float = 0.02,
    sigma_max: float = 4.0,
    inner_steps: int = 5,
    step_size: float = 0.2,
    **options,
) -> GenerativeModel:
    """A noise-conditional score network with annealed Langevin, denoised at the end.

    Args:
      network: Flax module, `(x [B, *shape], noise [B], condition or None) -> [B, *shape]`.
      levels: L noise levels from sigma_max down to sigma_min, a geometric sequence; the largest
        should be as large as the data are wide (song2020).
      inner_steps, step_size: of Langevin at each level, d = step_size sigma^2. Samples lag behind
        the levels: at the exact score their spread is too large by 3 % with the defaults (500 steps
        in all), by 19 % with the 200 steps of size 0.1 of 20 levels. The product of the three
        numbers decides.
      options: further fields of `diffusion.Options`; the loss is sigma^2 |s + z / sigma|^2
        (song2019 eq. 6), the plain error of the noise.
    `sample` and `log_prob` (by the probability-flow ODE) are those of `diffusion`. Raises
    ConfigError for numbers out of range.
    """
    return diffusion(
        network,
        ve(sigma_min, sigma_max),
        optimizer,
        prediction="eps",
        time_density=ladder(levels),
        stepper=annealed_langevin(inner_steps, step_size),
        num_steps=levels,
        **options,
    )
