"""A user's own images: every picture below a folder, of each file the first.

Order: by the bytes of the relative path, the same on every machine. Where at least two first-level
sub-folders hold images each is a class, numbered in the same order, and images beside them are
skipped. Every tenth image of each class (of all, without classes) is held out for "test", the
last one if there are fewer than ten, but never the only one.
"""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from gen_jax.data import picture
from gen_jax.data.picture import Colour, Manner
from gen_jax.errors import DataError, check_range

PREFIX = "folder:"
MOST_NAMED = 8
"""Suffixes, and folders, that a warning names."""


def parse(name: str) -> tuple[str, int | None, Colour]:
    """Split "folder:PATH[@SIZE][@COLOUR]" into PATH, SIZE (None) and COLOUR (white).

    A folder whose own name ends in "@SIZE" is taken whole. Raises DataError without a PATH.
    """
    path = os.path.expanduser(name.removeprefix(PREFIX))
    if not path:
        raise DataError(f"dataset={name!r} names no folder (expected folder:PATH)")
    base, size, colour = picture.split_name(path, os.path.isdir)
    if size is not None:
        check_range("SIZE in folder:PATH@SIZE", size, 4, 1024, integer=True)
    return base, size, colour


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry]:
    """What is below `folder` and no folder; one reached twice (by a link) is entered once."""
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in sorted(os.scandir(folder), key=lambda e: os.fsencode(e.name)):
        if entry.name.startswith("."):  # what file managers leave behind
            continue
        if entry.is_dir():
            yield from _walk(entry.path, seen)
        else:
            yield entry


def _kind(entry: os.DirEntry) -> str:
    """Why a file is skipped, in one or two words; empty for an image."""
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix not in picture.suffixes():
        return suffix.encode("unicode_escape").decode() or "without suffix"
    return "" if entry.is_file() else f"{suffix} that is no file"


def _shown(words: list[str]) -> str:
    more = len(words) - MOST_NAMED
    return ", ".join([*words[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])])


def _skipped(kinds: Counter[str]) -> str:
    """ "2 .txt, 1 without suffix"; the most frequent first."""
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return _shown([f"{count} {kind}" for kind, count in ordered])


def _without_images(root: str, paths: list[str]) -> list[str]:
    """First-level folders that hold no image."""
    used = {Path(os.path.relpath(path, root)).parts[0] for path in paths}
    folders = (e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))
    return sorted(set(folders) - used, key=os.fsencode)


@lru_cache
def _warn(text: str) -> None:
    """Warn once in a process: a folder is read for its description and for each split."""
    warnings.warn(text, stacklevel=3)


def find_images(root: str) -> list[str]:
    """The images below `root` in byte order: files with a suffix of a format that Pillow decodes.

    One warning counts the files that were skipped, by suffix, and names the first-level folders
    without an image. Hidden files and folders are left out without a word. Raises DataError if
    there is no folder or no image.
    """
    if not os.path.isdir(root):
        raise DataError(f"folder {root!r} does not exist or is not a folder")
    paths, kinds = [], Counter[str]()
    try:
        for entry in _walk(root, set()):
            kind = _kind(entry)
            kinds.update([kind] if kind else [])
            paths += [] if kind else [entry.path]
        paths.sort(key=os.fsencode)
        empty = _without_images(root, paths)
    except OSError as error:
        raise DataError(f"folder {root!r} cannot be read ({error})") from error
    skipped = f"skipped {_skipped(kinds)}" if kinds else ""
    if not paths:
        raise DataError(f"folder {root!r} holds no images ({skipped or 'it is empty'})")
    named = f"no image in {_shown([repr(name) for name in empty])}" if empty else ""
    if skipped or named:
        text = f"folder {root!r}: {'; '.join(filter(None, (skipped, named)))}"
        _warn(text)
    return paths


def _first(root: str, path: str) -> str:
    """The first-level folder that a file is in; empty for a file in the root."""
    first, *rest = Path(os.path.relpath(path, root)).parts
    return first if rest else ""


def _of_classes(root: str, paths: list[str]) -> list[str]:
    """Without the images beside two or more class folders, which one warning names."""
    folders = [_first(root, path) for path in paths]
    if "" not in folders or len({*folders}) < 3:
        return paths
    stray = [repr(os.path.basename(path)) for path, first in zip(paths, folders) if not first]
    text = f"folder {root!r}: skipped {_shown(stray)} beside the class folders (of no class)"
    _warn(text)
    return [path for path, first in zip(paths, folders) if first]


def _labels(root: str, paths: list[str]) -> np.ndarray | None:
    folders = [_first(root, path) for path in paths]
    classes = sorted({*folders}, key=os.fsencode)
    if "" in classes or len(classes) < 2:
        return None
    return np.array([classes.index(first) for first in folders], np.int32)


def held_out(labels: np.ndarray) -> np.ndarray:
    """Which examples are "test": every tenth of a class, the last of a class of two to nine."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[members[9::10] if len(members) >= 10 else members[1:][-1:]] = True
    return chosen


def _differ(path: str, size: tuple[int, int], other: str, other_size: tuple[int, int]) -> DataError:
    return DataError(
        f"images differ in size ({path!r} {size}, {other!r} {other_size}): use "
        "folder:PATH@64 to crop and resize them to 64 x 64"
    )


def _manner(
    paths: tuple[str, ...], side: int | None, background: Colour
) -> tuple[Manner, set[str]]:
    """How all files are read, by their headers and, where these do not say, by their pixels; and
    the files of 16 bits per channel of which Pillow reads 8."""
    sizes, in_colour, cut, levels = [], [], set(), dict[str, float]()
    for path in paths:
        with picture.open_image(path) as image:
            sizes.append(image.size)
            if not picture.stored_grey(image, background):
                in_colour.append((path, image.mode in ("P", "PA")))
            deep, mode = picture.is_deep(image), image.mode[0]
            if picture.is_cut(image):
                cut.add(path)
        if side is None and sorted(sizes[-1]) != sorted(sizes[0]):  # either may lie on its side
            raise _differ(paths[0], sizes[0], path, sizes[-1])
        if deep:
            levels[mode] = max(levels.get(mode, 0), picture.brightest(path))
    # A palette may be grey; and so may a file of colours, if others of the set are grey.
    all_colour = len(in_colour) == len(paths) and not any(palette for _, palette in in_colour)
    grey = not all_colour and not any(picture.shows_colour(p, background) for p, _ in in_colour)
    tops = {mode: picture.top_of(level, mode == "I") for mode, level in levels.items()}
    return Manner(grey, None if side is None else (side, side), background, tops), cut


@lru_cache(maxsize=4)
def _read(
    root: str, paths: tuple[str, ...], side: int | None, background: Colour, stamp: tuple
) -> dict[str, np.ndarray]:
    """All images and labels; `stamp` makes a changed folder another entry of the cache."""
    manner, cut = _manner(paths, side, background)
    x, brightest = np.empty(0, np.uint8), 0
    for i, path in enumerate(paths):
        pixels = picture.read_pixels(path, manner)
        x = np.empty((len(paths), *pixels.shape), np.uint8) if i == 0 else x
        if pixels.shape != x.shape[1:]:
            first, own = (array.shape[-2::-1] for array in (x[0], pixels))
            raise _differ(paths[0], first, path, own)
        x[i] = pixels
        if path in cut:
            brightest = max(brightest, picture.upper_half(path))
    if cut:
        picture.check_bits(f"folder {root!r} has 16-bit colour files", brightest)
    y = _labels(root, list(paths))
    return {"x": x} if y is None else {"x": x, "y": y}


def read_folder(name: str, split: str) -> dict[str, np.ndarray]:
    """The images of "folder:PATH[@SIZE][@COLOUR]": "x" uint8 [N, H, W, C], perhaps "y" [N].

    Greyscale if none shows a colour and not all are stored in colour, else RGB. With SIZE each is
    cropped to its centre square and resized (bicubic with antialiasing); without, all must have one
    size. COLOUR lies behind transparent pixels. Grey levels of more than 8 bits are scaled by
    `picture.top_of` the largest of the set. Raises DataError naming the file or folder at fault.
    """
    path, side, background = parse(name)
    root = os.path.abspath(path)
    paths = _of_classes(root, find_images(root))
    if len(paths) < 2:
        raise DataError(f"folder {root!r} holds one image; train and test need one each")
    stamp = tuple((status.st_size, status.st_mtime_ns) for status in map(os.stat, paths))
    arrays = _read(root, tuple(paths), side, background, stamp)
    test = held_out(arrays.get("y", np.zeros(len(paths), np.int32)))
    if not test.any():
        raise DataError(f"folder {root!r} has no class of two images; none can be held out to test")
    return {key: values[test if split == "test" else ~test] for key, values in arrays.items()}
