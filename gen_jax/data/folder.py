"""A user's own images: every picture below a folder.

Order: by the bytes of the relative path, the same on every machine. Every tenth image is held out
for "test" (the last one if there are fewer than ten). When all images are in sub-folders, and there
are at least two, the first-level sub-folder is the class, numbered in the same order.
"""

import os
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from gen_jax.errors import DataError, check_range

PREFIX = "folder:"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 2**26
"""Above this an image is refused before it is decoded."""


def parse(name: str) -> tuple[str, int | None]:
    """Split "folder:PATH" or "folder:PATH@SIZE" into PATH and SIZE.

    A folder whose own name ends in "@SIZE" is taken whole. Raises DataError without a PATH.
    """
    path = os.path.expanduser(name.removeprefix(PREFIX))
    if not path:
        raise DataError(f"dataset={name!r} names no folder (expected folder:PATH)")
    base, at, size = path.rpartition("@")
    if not at or os.path.isdir(path) or not (size.isascii() and size.isdigit()):
        return path, None
    return base, int(check_range("SIZE in folder:PATH@SIZE", int(size), 4, 1024, integer=True))


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Paths of the images below `folder`; a folder reached twice (by a link) is entered once."""
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in sorted(os.scandir(folder), key=lambda e: os.fsencode(e.name)):
        if entry.name.startswith("."):  # what file managers leave behind
            continue
        if entry.is_dir():
            yield from _walk(entry.path, seen)
        elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            yield entry.path


def find_images(root: str) -> list[str]:
    """The images below `root` in byte order. Raises DataError if there is no folder or no image."""
    if not os.path.isdir(root):
        raise DataError(f"folder {root!r} does not exist or is not a folder")
    try:
        paths = sorted(_walk(root, set()), key=os.fsencode)
    except OSError as error:
        raise DataError(f"folder {root!r} cannot be read ({error})") from error
    if not paths:
        raise DataError(f"folder {root!r} holds no images ({', '.join(SUFFIXES)})")
    return paths


def _open(path: str):
    """The image with its header read and its size checked, pixels not yet decoded."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit is lower than Pillow's warning
            image = Image.open(path)
    except Exception as error:
        reason = "the file is empty" if os.path.getsize(path) == 0 else " ".join(str(error).split())
        raise DataError(f"image {path!r} cannot be read ({reason})") from error
    if image.width * image.height > MAX_PIXELS:
        pixels = f"{image.width} x {image.height}"
        raise DataError(f"image {path!r} is too large: {pixels} pixels (at most {MAX_PIXELS})")
    return image


def _orientation(image) -> int:
    """The camera's mark of which side is up (EXIF 0x112) in a JPEG; 1, upright, if unreadable."""
    try:
        value = image.getexif().get(0x112, 1) if image.format == "JPEG" else 1
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def _upright_size(image) -> tuple[int, int]:
    """(width, height) once the picture is turned upright."""
    return (image.height, image.width) if _orientation(image) >= 5 else image.size


def _is_grey(image) -> bool:
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _pixels(path: str, size: tuple[int, int], grey: bool, crop: bool) -> np.ndarray:
    """Decode one image, uint8 [H, W, C]: no transparency, of 16-bit grey the high byte."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), _open(path) as image:
            warnings.simplefilter("ignore")
            if image.mode.startswith("I"):
                levels = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255)
                picture = Image.fromarray(levels.astype(np.uint8))
            else:
                picture = ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
            picture = picture.convert("L" if grey else "RGB")
            if crop and picture.size != size:
                picture = ImageOps.fit(picture, size, Image.Resampling.BICUBIC)
            pixels = np.asarray(picture)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"image {path!r} cannot be decoded ({error})") from error
    return pixels[..., None] if grey else pixels


def read_image(path: str) -> np.ndarray:
    """One image file, uint8 [H, W, C], C 1 or 3. Raises DataError if it cannot be read."""
    with _open(path) as image:
        size, grey = _upright_size(image), _is_grey(image)
    return _pixels(path, size, grey, crop=False)


def _labels(root: str, paths: list[str]) -> np.ndarray | None:
    parts = [Path(os.path.relpath(path, root)).parts for path in paths]
    if any(len(part) < 2 for part in parts):
        return None
    classes = sorted({part[0] for part in parts}, key=os.fsencode)
    if len(classes) < 2:
        return None
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[part[0]] for part in parts], np.int32)


def _common_size(paths: list[str], sizes: list[tuple[int, int]], side: int | None):
    if side is not None:
        return side, side
    for path, size in zip(paths, sizes):
        if size != sizes[0]:
            raise DataError(
                f"images differ in size ({paths[0]!r} {sizes[0]}, {path!r} {size}): use "
                "folder:PATH@64 to crop and resize them to 64 x 64"
            )
    return sizes[0]


@lru_cache(maxsize=4)
def _read(root: str, paths: tuple[str, ...], side: int | None, stamp: tuple) -> dict:
    """All images and labels; `stamp` makes a changed folder another entry of the cache."""
    sizes, greys = [], []
    for path in paths:
        with _open(path) as image:
            sizes.append(_upright_size(image))
            greys.append(_is_grey(image))
    size, grey = _common_size(list(paths), sizes, side), all(greys)
    x = np.empty((len(paths), size[1], size[0], 1 if grey else 3), np.uint8)
    for i, path in enumerate(paths):
        x[i] = _pixels(path, size, grey, side is not None)
    y = _labels(root, list(paths))
    return {"x": x} if y is None else {"x": x, "y": y}


def read_folder(name: str, split: str) -> dict[str, np.ndarray]:
    """The images of "folder:PATH" or "folder:PATH@SIZE": "x" uint8 [N, H, W, C], perhaps "y" [N].

    Greyscale if all of them are, else RGB. With SIZE each is cropped to its centre square and
    resized (bicubic with antialiasing); without, all must have one size. Raises DataError naming
    the file or folder at fault.
    """
    path, side = parse(name)
    root = os.path.abspath(path)
    paths = find_images(root)
    if len(paths) < 2:
        raise DataError(f"folder {root!r} holds one image; train and test need one each")
    stamp = tuple((status.st_size, status.st_mtime_ns) for status in map(os.stat, paths))
    arrays = _read(root, tuple(paths), side, stamp)
    position = np.arange(len(paths))
    test = position % 10 == 9 if len(paths) >= 10 else position == len(paths) - 1
    return {key: values[test if split == "test" else ~test] for key, values in arrays.items()}
