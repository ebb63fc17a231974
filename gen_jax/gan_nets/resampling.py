"""Doubling and halving of images."""

import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float


def double(x: Float[Array, "B H W C"], times: int = 1) -> Float[Array, "B H2 W2 C"]:
    """Every pixel 2^times x 2^times times."""
    return jnp.repeat(jnp.repeat(x, 2**times, 1), 2**times, 2)


def halve(x: Float[Array, "B H W C"], times: int = 1) -> Float[Array, "B h w C"]:
    """Means of blocks of 2^times x 2^times pixels: `halve(double(x)) = x`."""
    b, h, w, c = x.shape
    n = 2**times
    return x.reshape(b, h // n, n, w // n, n, c).mean((2, 4))


def blur(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Every channel filtered by [1, 2, 1] / 4 along both axes, with zeros outside (karras2019)."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = (x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4
    return (x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]) / 4


def base_size(shape: tuple[int, ...], halvings: int) -> tuple[int, int]:
    """[h, w] of an image [H, W, C] after so many halvings. Raises ConfigError if they do not go."""
    if len(shape) != 3:
        raise ConfigError(f"shape={shape} is no image [H, W, C]")
    if any(size % 2**halvings for size in shape[:2]):
        raise ConfigError(f"shape={shape} cannot be halved {halvings} times")
    return shape[0] // 2**halvings, shape[1] // 2**halvings
