"""JPEG's quantisation as a measurement (ITU-T T.81): not linear, and idempotent.

The image is cut into blocks of 8 x 8; each block's orthonormal cosine transform is rounded to
multiples of a table that grows as the quality falls. Colours are not subsampled. Blocks at the
lower and right edges are as large as what is left of the image, with the table's upper left part.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.errors import ConfigError, check_range
from gen_jax.inverse.operators import Operator, image_shape, over_batch
from gen_jax.types import Array

LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float64,
)
"""Table K.1 of the standard, for grey images and the luminance."""

CHROMINANCE = np.full((8, 8), 99.0)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
"""Table K.2, for the two colour differences."""

TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)


MIDDLE = 1 / 255
"""The standard's level shift, 128 of 0 .. 255, for images in [-1, 1]."""


def quantisation_table(table: np.ndarray, quality: int) -> np.ndarray:
    """The table at a quality of 1 to 100, scaled as libjpeg does; each step is at least 1."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip(np.floor((table * scale + 50) / 100), 1, 255)


def _cosines(size: int) -> np.ndarray:
    """The orthonormal cosine transform (type II) of `size` points, [frequency, point]."""
    frequency, point = np.arange(size)[:, None], np.arange(size)[None]
    basis = np.cos(np.pi * (point + 0.5) * frequency / size) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis


def _block_cosines(size: int) -> np.ndarray:
    """The transform of a whole line, block by block: block-diagonal and orthogonal [size, size]."""
    matrix = np.zeros((size, size))
    for start in range(0, size, 8):
        end = min(start + 8, size)
        matrix[start:end, start:end] = _cosines(end - start)
    return matrix


@jax.custom_jvp
def _round(x: Array) -> Array:
    """Rounding whose derivative is taken to be 1, so that a gradient passes through it."""
    return jnp.round(x)


_round.defjvp(lambda primals, tangents: (_round(*primals), tangents[0]))


@no_type_check
def jpeg(shape: tuple[int, ...], quality: int) -> Operator:
    """The quantised coefficients [H, W, C] of images in [-1, 1], in units of 1 / 127.5.

    The derivative of the rounding is taken to be 1, its error to be uniform over a quantisation
    step (deviation step / sqrt(12)). Values outside [-1, 1] are not clipped.
    Raises ConfigError for images without 1 or 3 channels, and for a quality outside [1, 100].
    """
    check_range("quality", quality, 1, 100, integer=True)
    shape = image_shape(shape)
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ConfigError(f"shape={shape} must be [H, W, 1] or [H, W, 3]")
    height, width, channels = shape
    rows, columns = _block_cosines(height), _block_cosines(width)
    colours = TO_YCBCR if channels == 3 else np.eye(1)
    tables = [LUMINANCE] + [CHROMINANCE] * (channels - 1)
    steps = np.stack([quantisation_table(table, quality) for table in tables], axis=-1)
    whole = np.arange(height)[:, None] % 8, np.arange(width)[None] % 8
    steps = steps[whole] / 127.5

    def transformed(x, rows, columns, colours):
        along = "hi,wj,cd,ijd->hwc"
        cast = [m.astype(x.dtype) for m in (rows, columns, colours)]
        return jnp.einsum(along, *cast, x, precision="highest")

    def apply(x):
        coefficients = transformed(x - MIDDLE, rows, columns, colours)
        return _round(coefficients / steps.astype(x.dtype)) * steps.astype(x.dtype)

    def decode(y):
        return transformed(y, rows.T, columns.T, np.linalg.inv(colours)) + MIDDLE

    return Operator(
        shape,
        shape,
        over_batch(apply, shape, "x"),
        over_batch(decode, shape, "y"),
        steps / np.sqrt(12),
    )
