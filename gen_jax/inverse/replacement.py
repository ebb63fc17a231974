"""Replacement (song2021, appendix I.2): known values are set after each step."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gen_jax.checks import as_array, as_floats, is_known, no_type_check
from gen_jax.diffusion.sampler import Stepper, check_stepper
from gen_jax.errors import ConfigError, DataError
from gen_jax.randomness import fold_in, normal
from gen_jax.types import Array

KNOWN_NOISE = 1
"""The use of a sample's step key for the noise of the known values."""


def check_mask(mask, y) -> tuple[Array, Array]:
    """mask and y as arrays.

    Raises ConfigError unless mask is boolean and y ends in its shape, DataError for values of y
    that are read and not finite.
    """
    mask, y = as_array("mask", mask), as_floats("y", y)
    if mask.dtype != bool:
        raise ConfigError(f"mask must be boolean (true where x is known), got {mask.dtype}")
    if y.ndim - mask.ndim not in (0, 1) or y.shape[y.ndim - mask.ndim :] != mask.shape:
        raise ConfigError(
            f"y must be an image of the mask's shape {list(mask.shape)}, or one for each sample, "
            f"got {list(y.shape)}"
        )
    if is_known(mask):
        if not np.any(np.asarray(mask)):
            raise ConfigError(f"mask of shape {mask.shape} measures nothing: no entry is true")
        if is_known(y) and not np.all(np.isfinite(np.where(mask, y, 0))):
            raise DataError("y holds values that are not finite where mask is true")
    return jnp.asarray(mask), y


def with_known_values(keys, x, transition, mask, y):
    """x at the level of arrival, with alpha_s y + sigma_s z where the mask is true.

    Raises ConfigError for a mask of another shape than one example's, which would be repeated.
    """
    if mask.shape != x.shape[1:] or y.shape not in (mask.shape, (1, *mask.shape), x.shape):
        raise ConfigError(
            f"mask {list(mask.shape)} and y {list(y.shape)} must have the shape of one example, "
            f"{list(x.shape[1:])}, y also of each of {x.shape[0]}"
        )
    alpha, sigma = (c.astype(x.dtype) for c in (transition.next.alpha, transition.next.sigma))
    noise = normal(fold_in(keys, KNOWN_NOISE), x.shape[1:], x.dtype)
    return jnp.where(mask, alpha * y.astype(x.dtype) + sigma * noise, x)


@no_type_check
def replacement(stepper: Stepper, mask: ArrayLike, y: ArrayLike) -> Stepper:
    """A stepper that inpaints: x_s is alpha_s y + sigma_s z where `mask` is true.

    At s = 0 the known values are exact. The unknown ones are biased, because known
    values of fresh noise need not fit them; `repaint` lessens that.

    Args:
      mask: true where x is known, of the shape of one example.
      y: image [*shape], or one for each sample [B, *shape]; read where the mask is true.
    Raises ConfigError for a mask that is not boolean and y of another shape.
    """
    mask, y = check_mask(mask, y)
    check_stepper(stepper)

    def step(keys, denoise, path, x, carry, transition):
        x, carry = stepper.step(keys, denoise, path, x, carry, transition)
        return with_known_values(keys, x, transition, mask, y), carry

    return stepper._replace(step=step)
