"""Pictures as sets of square patches: scikit-image's textures, its faces, a user's own file.

A picture is cut into overlapping patches. Those of its left three quarters are "train", those of
its right quarter "test", so that the two share no pixel.
"""

import os
from functools import lru_cache

import numpy as np

from gen_jax.data import picture as files
from gen_jax.data.picture import Colour
from gen_jax.errors import DataError, check_range
from gen_jax.optional import optional

PREFIX = "file:"
TEXTURES = ("brick", "grass", "gravel")
SIDE, SMALLEST = 128, 8
"""Usual side of a patch, and the least."""


@lru_cache
def read_faces(split: str) -> dict[str, np.ndarray]:
    """100 faces of 25 x 25 grey pixels, part of Labelled Faces in the Wild: no download.

    Every fifth is "test".
    """
    faces = optional("skimage.data", "images", "the faces of scikit-image").lfw_subset()
    x = np.round(255 * faces[:100]).astype(np.uint8)[..., None]
    test = np.arange(len(x)) % 5 == 4
    return {"x": x[test if split == "test" else ~test]}


def parse(name: str) -> tuple[str, int | None, Colour]:
    """Split "file:PATH[@SIZE][@COLOUR]" into PATH, SIZE (None) and COLOUR (white).

    Raises DataError without a PATH.
    """
    path = os.path.expanduser(name.removeprefix(PREFIX))
    if not path:
        raise DataError(f"dataset={name!r} names no file (expected file:PATH)")
    base, size, colour = files.split_name(path, os.path.isfile)
    if size is not None:
        check_range("SIZE in file:PATH@SIZE", size, SMALLEST, 1024, integer=True)
    return base, size, colour


@lru_cache(maxsize=4)
def _read(source: str, background: Colour, stamp: tuple) -> np.ndarray:
    """A picture of TEXTURES, or of a path: `stamp` makes a changed file another of the cache."""
    if stamp:
        picture = files.read_image(source, background)
    else:
        textures = optional("skimage.data", "images", "the textures of scikit-image")
        picture = getattr(textures, source)()[..., None]
    picture.flags.writeable = False
    return picture


def read_picture(name: str) -> np.ndarray:
    """The whole picture of a name in TEXTURES or of "file:PATH", uint8 [H, W, C], C 1 or 3.

    It is read once and shared, so it cannot be written to; a changed file is read again. Raises
    DataError for a file that is missing, unreadable or too large.
    """
    if not name.startswith(PREFIX):
        return _read(name, files.WHITE, ())
    path, _, background = parse(name)
    if not os.path.isfile(path):
        raise DataError(f"file {path!r} does not exist or is not a file")
    status = os.stat(path)
    return _read(os.path.abspath(path), background, (status.st_size, status.st_mtime_ns))


def patches(picture: np.ndarray, side: int, split: str) -> np.ndarray:
    """Patches [N, side, side, C] a quarter of their side apart, from one part of a picture."""
    border = picture.shape[1] - max(picture.shape[1] // 4, side)
    part = picture[:, border:] if split == "test" else picture[:, :border]
    step = max(side // 4, 1)
    views = np.lib.stride_tricks.sliding_window_view(part, (side, side), (0, 1))
    views = views[::step, ::step].transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(views).reshape(-1, side, side, picture.shape[2])


def read_patches(name: str, split: str) -> dict[str, np.ndarray]:
    """The patches of a picture: "x" uint8 [N, S, S, C].

    S is SIZE in "file:PATH@SIZE", else 128 or as much as both parts of the picture have room for.
    Raises DataError as `read_picture`, and for a picture that has no room for them.
    """
    picture = read_picture(name)
    height, width = picture.shape[:2]
    room = min(height, width // 2)
    asked = parse(name)[1] if name.startswith(PREFIX) else SIDE
    side = asked or min(SIDE, height // 2, width // 4)
    if not SMALLEST <= side <= room:
        side = max(side, SMALLEST)
        raise DataError(
            f"{name!r} has {width} x {height} pixels: too small for patches of {side} x {side}"
        )
    return {"x": patches(picture, side, split)}
