"""Progressive growing (karras2018): resolutions fade in one after the other, with one program.

All arrays have the size of the full image from the start, so that nothing is compiled anew; images
of a lower resolution are shown with larger pixels, and the critic sees them through means. Real
images are shown as generated ones are: at the present resolution, or blended between two.
"""

from typing import Any

import jax.numpy as jnp

from gen_jax.errors import ConfigError, check_range
from gen_jax.gan_nets.resampling import double, halve
from gen_jax.types import Array, Float, Int


def check_growth(fade_steps: int, levels: int) -> None:
    """Raise ConfigError for steps out of range, or where there is nothing to fade in."""
    check_range("fade_steps", fade_steps, 0, integer=True)
    if fade_steps and levels == 1:
        raise ConfigError(f"fade_steps={fade_steps} with one resolution: there is none to fade in")


def grown_level(
    step: Int[Array, ""] | None, fade_steps: int, levels: int
) -> Float[Array, ""] | None:
    """The resolution in 0 .. levels - 1 after so many updates; None when all are there at once.

    Each is trained for `fade_steps`, then the next one fades in for `fade_steps`.
    """
    if step is None or not fade_steps:
        return None
    whole, rest = step // (2 * fade_steps), step % (2 * fade_steps)
    level = whole + jnp.clip(rest / fade_steps - 1, 0, 1)
    return jnp.minimum(level, levels - 1)


def blend(images: list[Array], level: Any) -> Float[Array, "B H W C"]:
    """The image of a resolution, or between two the mean by distance, in the size of the last."""
    last = len(images) - 1
    weights = jnp.clip(1 - jnp.abs(level - jnp.arange(last + 1)), 0, 1)
    return sum(w * double(x, last - i) for i, (w, x) in enumerate(zip(weights, images)))


def grown(x: Float[Array, "B H W C"], level: Any, levels: int) -> Float[Array, "B H W C"]:
    """Real images as a generator of so many levels would show them (karras2018, fig. 2)."""
    return blend([halve(x, times) for times in range(levels - 1, -1, -1)], level)
