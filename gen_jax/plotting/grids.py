"""Grids of images, as arrays and files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, UInt8
from gen_jax.writing import replacing

TARGET = 32
"""Smaller images are enlarged to at least this many pixels."""


def as_images(
    name: str, images: Array | np.ndarray, axes: str = "[N, H, W, C]"
) -> UInt8[np.ndarray, "..."]:
    """uint8 images; raises ConfigError for another dtype, shape, or other than 1 or 3 channels."""
    images = np.asarray(images)
    right = images.ndim == axes.count(",") + 1 and images.size and images.shape[-1] in (1, 3)
    if images.dtype != np.uint8 or not right:
        raise ConfigError(
            f"{name} is {images.dtype} {images.shape}; it must be uint8 {axes}, C 1 or 3"
        )
    return images


def image_grid(
    images: Array | np.ndarray,
    columns: int | None = None,
    scale: int | None = None,
    padding: int = 1,
) -> UInt8[np.ndarray, "rows columns C"]:
    """Images [N, H, W, C] beside and below each other, row by row, on white.

    Args:
      images: uint8, C 1 or 3.
      columns: images in a row; by default as many as make the grid about square.
      scale: each pixel becomes a square of this side; by default tiny images grow to 32 pixels.
      padding: white pixels between images, and around them.

    >>> import numpy as np
    >>> from gen_jax import plotting
    >>> plotting.image_grid(np.zeros((4, 8, 8, 1), np.uint8), columns=2, scale=1).shape
    (19, 19, 1)
    """
    images = as_images("images", images)
    n, height, width, channels = images.shape
    columns = int(check_range("columns", columns or int(np.ceil(np.sqrt(n))), 1, integer=True))
    scale = int(check_range("scale", scale or -(-TARGET // max(height, width)), 1, integer=True))
    check_range("padding", padding, 0, integer=True)
    rows = -(-n // columns)
    images = images.repeat(scale, 1).repeat(scale, 2)
    margin = ((0, rows * columns - n), (padding, 0), (padding, 0), (0, 0))
    cells = np.pad(images, margin, constant_values=255)
    cells = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    grid = cells.reshape(rows * (height * scale + padding), -1, channels)
    return np.pad(grid, ((0, padding), (0, padding), (0, 0)), constant_values=255)


def label_rows(
    grid: Array | np.ndarray, labels: Sequence[str], size: int = 13
) -> UInt8[np.ndarray, "H W 3"]:
    """A grid [H, W, C] with one line of text on white, left of each of `len(labels)` equal rows."""
    grid = as_images("grid", grid, "[H, W, C]")
    if not labels:
        raise ConfigError("labels is empty; give one text per row")
    font = ImageFont.load_default(size)
    strip = int(max(font.getlength(text) for text in labels)) + size
    picture = Image.new("RGB", (strip + grid.shape[1], grid.shape[0]), "white")
    picture.paste(Image.fromarray(np.broadcast_to(grid, (*grid.shape[:2], 3)).copy()), (strip, 0))
    draw = ImageDraw.Draw(picture)
    row = grid.shape[0] / len(labels)
    for index, text in enumerate(labels):
        place = (strip - size // 2, (index + 0.5) * row)
        draw.text(place, text, fill="#333333", font=font, anchor="rm")
    return np.asarray(picture)


def to_image(array: Array | np.ndarray) -> Image.Image:
    """An array [H, W, C] as a pillow image, which a notebook shows."""
    array = as_images("array", array, "[H, W, C]")
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def save_image(path: str | os.PathLike, array: Array | np.ndarray) -> Path:
    """Write an array [H, W, C], uint8, C 1 or 3, as png; makes the folder and returns the path."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ConfigError(f"path={str(path)!r} must end in .png")
    picture = to_image(array)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        picture.save(file, optimize=True)
    return path
