"""Stationary Gaussian textures from one image (galerne2011).

A texture image t on a torus, convolved with white noise w, is a Gaussian field with t's mean and
power spectrum:

    asymptotic discrete spot noise    f = m + (t - m) * w / sqrt(H W)
    random phase noise                |F f| = |F t|, phases uniform and odd

Both use one noise for all channels, which keeps the colours. An image that is not periodic would
put its border jumps into the spectrum as a cross; its periodic component has none (moisan2011).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.annotations import floats
from gen_jax.errors import ConfigError, DataError, check_range
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Key

AXES = (-3, -2)
SMALLEST = 8
"""Fewer pixels along a side show no texture."""


def check_texture(image: Float[Array, "... H W C"]) -> None:
    """Raise DataError for an image that is too small or not finite."""
    height, width = image.shape[-3:-1]
    if min(height, width) < SMALLEST:
        raise DataError(f"texture of {height} x {width} pixels (at least {SMALLEST} x {SMALLEST})")
    if not isinstance(image, jax.core.Tracer) and not np.isfinite(image).all():
        raise DataError("texture has values that are not finite")


def checked_size(size: Any, usual: tuple[int, int]) -> tuple[int, int]:
    """(height, width) as given, a square of one number, or the usual one for None.

    Raises ConfigError for what is no size.
    """
    if size is None:
        return usual
    if np.shape(size) not in ((), (2,)):
        raise ConfigError(f"size={size!r} must be (height, width)")
    height, width = size if np.ndim(size) else (size, size)
    side = lambda name, value: int(check_range(name, value, 1, integer=True))
    return side("height", height), side("width", width)


@floats(image="... H W C")
def periodic_plus_smooth(
    image: Float[Array, "... H W C"],
) -> tuple[Float[Array, "... H W C"], Float[Array, "... H W C"]]:
    """(p, s) with p + s the image: s is smooth inside and carries the jumps across the border.

    The periodic Laplacian of s is the border image: each border pixel's difference to its neighbour
    across the border (moisan2011). Both have the same mean over pixels: s has mean 0.
    """
    height, width = image.shape[-3:-1]
    border = jnp.zeros_like(image)
    rows = image[..., -1, :, :] - image[..., 0, :, :]
    border = border.at[..., 0, :, :].add(rows).at[..., -1, :, :].add(-rows)
    columns = image[..., :, -1, :] - image[..., :, 0, :]
    border = border.at[..., :, 0, :].add(columns).at[..., :, -1, :].add(-columns)
    cosines = lambda n: 2 * jnp.cos(2 * jnp.pi * jnp.arange(n, dtype=image.dtype) / n)
    laplacian = cosines(height)[:, None, None] + cosines(width)[None, :, None] - 4
    laplacian = laplacian.at[0, 0].set(1)
    spectrum = jnp.fft.fft2(border, axes=AXES) / laplacian
    spectrum = spectrum.at[..., 0, 0, :].set(0)
    smooth = jnp.fft.ifft2(spectrum, axes=AXES).real
    return image - smooth, smooth


def _ramp(length: int, dtype) -> Float[Array, "length"]:
    """1 inside, falling to 0 as a squared cosine over an eighth of the length at each end."""
    edge = jnp.minimum(jnp.arange(length), jnp.arange(length)[::-1]) + 0.5
    return jnp.sin(jnp.pi / 2 * jnp.minimum(8 * edge / length, 1)).astype(dtype) ** 2


@floats(image="H W C")
def spot(
    image: Float[Array, "H W C"], size: tuple[int, int]
) -> tuple[Float[Array, "C"], Float[Array, "H2 W2 C"]]:
    """Mean [C] of a texture and the spot whose convolution with white noise is its field.

    For a larger size the image is faded out at its ends and set into zeros (galerne2011). The
    fading window has mean square 1: the sum of squares, which is the field's variance, is kept on
    average over the image's translations, not by each of them.
    """
    height, width, _ = image.shape
    mean = image.mean((0, 1))
    centred = (image - mean) / math.sqrt(height * width)
    if size == (height, width):
        return mean, centred
    window = jnp.ones((height, width, 1), image.dtype)
    if size[0] > height:
        window = window * _ramp(height, image.dtype)[:, None, None]
    if size[1] > width:
        window = window * _ramp(width, image.dtype)[None, :, None]
    window = window / jnp.sqrt(jnp.mean(window**2))
    margin = ((0, size[0] - height), (0, size[1] - width), (0, 0))
    return mean, jnp.pad(centred * window, margin)


def _synthesise(key, image, n, size, periodic, phase_only):
    check_texture(image)
    height, width, _ = image.shape
    wanted = checked_size(size, (height, width))
    full = max(wanted[0], height), max(wanted[1], width)
    if periodic:
        image = periodic_plus_smooth(image)[0]
    mean, kernel = spot(image, full)
    kernel = jnp.fft.fft2(kernel, axes=AXES)

    def one(key):
        noise = jnp.fft.fft2(jax.random.normal(key, (*full, 1), image.dtype), axes=AXES)
        if phase_only:
            noise = math.sqrt(math.prod(full)) * noise / jnp.abs(noise)
        return mean + jnp.fft.ifft2(kernel * noise, axes=AXES).real

    fields = jax.vmap(one)(sample_keys(key, n))
    return fields[:, : wanted[0], : wanted[1]]


@floats(image="H W C")
def random_phase_noise(
    key: Key[Array, "*batch"],
    image: Float[Array, "H W C"],
    n: int = 1,
    *,
    size: int | tuple[int, int] | None = None,
    periodic: bool = True,
) -> Float[Array, "n H2 W2 C"]:
    """Textures with the Fourier moduli of the image's periodic component and random phases.

    Args:
      size: (height, width) of the result, or one number for both, larger or smaller; the image's if
        not given.
      periodic: use the periodic component; False takes the image as it is.
    Raises DataError for an image that is too small or not finite.
    """
    return _synthesise(key, image, n, size, periodic, phase_only=True)


@floats(image="H W C")
def asymptotic_discrete_spot_noise(
    key: Key[Array, "*batch"],
    image: Float[Array, "H W C"],
    n: int = 1,
    *,
    size: int | tuple[int, int] | None = None,
    periodic: bool = True,
) -> Float[Array, "n H2 W2 C"]:
    """The Gaussian field with the mean and the power spectrum of the image's periodic component.

    Arguments as for `random_phase_noise`.
    """
    return _synthesise(key, image, n, size, periodic, phase_only=False)


SYNTHESES = {
    "random_phase": random_phase_noise,
    "spot_noise": asymptotic_discrete_spot_noise,
}
"""Ways to make a texture from one image, by name."""
