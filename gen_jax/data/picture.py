"""One image file as uint8 pixels: upright, without transparency, of any depth.

A picture is turned as its EXIF orientation says, laid on a background where it is transparent, and
brought to 0..255.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gen_jax.errors import DataError

MAX_PIXELS = 2**26
"""Above this an image is refused before it is decoded."""

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of a grey level that a file of more than 8 bits may hold."""

ROUNDING = 1e-3
"""Share by which a float may be above the white of its depth: that of float16."""

NEED_PROGRAMS = ("EPS", "MPEG")
"""Formats that Pillow recognises but does not decode by itself."""

OPENED_AS_OTHERS = ("MPO",)
"""Formats that Pillow opens by the reader of another: several JPEGs in one file."""

DARK = 63
"""Where no upper half of a 16-bit value is above this, the values have fewer bits."""

KEY_SCALES = {"1": 255, "L;2": 85, "L;4": 17}
"""A PNG's transparent grey level is in units of the file; the factor to those of the pixels."""

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)


class Manner(NamedTuple):
    """How the pictures of one set are read.

    Fields:
      grey: one channel, else three.
      fit: [width, height] to crop and resize to; None leaves the size.
      background: behind transparent pixels.
      tops: the value that stands for white in files of integers "I" and of floats "F".
    """

    grey: bool
    fit: tuple[int, int] | None = None
    background: Colour = WHITE
    tops: Mapping[str, float] = {}


@lru_cache
def suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the formats that Pillow decodes."""
    from PIL import Image, ImageFile

    Image.init()
    stub = lambda make: isinstance(make, type) and issubclass(make, ImageFile.StubImageFile)
    read = {name for name, (make, _) in Image.OPEN.items() if not stub(make)}
    formats = read.union(OPENED_AS_OTHERS).difference(NEED_PROGRAMS)
    return frozenset(s for s, name in Image.registered_extensions().items() if name in formats)


def colour_of(word: str) -> Colour | None:
    """Red, green and blue of a colour's name or of "#rrggbb"; None for other words."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(word)[:3]
    except ValueError:
        return None
    return red, green, blue


def split_name(path: str, exists: Callable[[str], bool]) -> tuple[str, int | None, Colour]:
    """PATH, SIZE (None if not given) and COLOUR (white) of "PATH[@SIZE][@COLOUR]".

    A path that exists is taken whole, whatever its name ends in. Raises DataError for another word
    after one.
    """
    size, colour = None, None
    while "@" in path and not exists(path):
        base, _, word = path.rpartition("@")
        if size is None and word.isascii() and word.isdigit():
            size = int(word)
        elif colour is None and (found := colour_of(word)) is not None:
            colour = found
        elif exists(base):
            raise DataError(
                f"{word!r} in {path!r} is neither SIZE nor COLOUR (allowed after the path: "
                "@64 and @black or @#rrggbb, each once)"
            )
        else:
            break
        path = base
    return path, size, colour or WHITE


def open_image(path: str) -> Any:
    """The image with its header read and its size checked, pixels not yet decoded.

    Raises DataError for a file that is no image, and for one of too many pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit is lower than Pillow's warning
            image: Any = Image.open(path)
    except Exception as error:
        empty = os.path.isfile(path) and os.path.getsize(path) == 0
        reason = "the file is empty" if empty else " ".join(str(error).split())
        raise DataError(f"image {path!r} cannot be read ({reason})") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        pixels = f"{image.width} x {image.height}"
        raise DataError(f"image {path!r} is too large: {pixels} pixels (at most {MAX_PIXELS})")
    image.filename = ""  # else Pillow maps a TIFF that lies on its side with width for height
    return image


def raw_mode(image: Any) -> str:
    """How an opened image is stored, "RGB;16B" for instance; its mode where Pillow says no more."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else None
    word = args[0] if isinstance(args, tuple) and args else args
    return word if isinstance(word, str) else image.mode


def stored_grey(image: Any, background: Colour = WHITE) -> bool:
    """Whether an opened image has grey levels alone, by its header, also on this background."""
    levels = image.mode in ("1", "L", "F") or image.mode.startswith("I")
    alpha = image.mode in ("LA", "La") or raw_mode(image) == "LA;16B"  # opened as RGBA
    transparent = alpha or "transparency" in image.info
    return (levels or alpha) and (len({*background}) == 1 or not transparent)


def is_deep(image: Any) -> bool:
    """Whether an opened image has grey levels of more than 8 bits."""
    return image.mode[0] in "IF"


def is_cut(image: Any) -> bool:
    """Whether an opened image has 16 bits per channel of which Pillow reads the upper 8."""
    return ";16" in raw_mode(image) and not is_deep(image)


def check_bits(what: str, brightest: int) -> None:
    """Raise DataError if the upper halves of 16-bit values show that these have fewer bits."""
    if brightest <= DARK:
        raise DataError(
            f"{what} without a value above {256 * brightest + 255}, and only the upper 8 of 16 "
            "bits are read: save them with 8 bits per channel"
        )


def _upright(image: Any) -> Any:
    """Turned as the EXIF orientation says, whatever the format; as it is if that is unreadable."""
    from PIL import ImageOps

    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _levels(path: str, image: Any) -> np.ndarray:
    """Grey levels of a deep image. Raises DataError for those below 0, and if not finite."""
    values = np.asarray(image)
    low = values.min()
    if not low >= 0 or not np.isfinite(values).all():
        found = f"as low as {low}" if low < 0 else "that are not finite"
        raise DataError(f"image {path!r} holds grey levels {found} (allowed: 0 and above)")
    return values


def _eight_bits(values: np.ndarray, top: float) -> np.ndarray:
    """Grey levels 0..top as 0..255: of integers of a depth the highest eight of their bits."""
    if np.issubdtype(values.dtype, np.integer) and top + 1 in [2**bits for bits in DEPTHS]:
        return (values >> (int(top).bit_length() - 8)).astype(np.uint8)
    return np.round(np.minimum(values / top, 1) * 255).astype(np.uint8)


def _with_alpha(image: Any, raw: str) -> Any:
    """RGBA, for a picture that marks one of its colours or grey levels as transparent too."""
    key = image.info.get("transparency")
    if isinstance(key, int) and raw in KEY_SCALES:
        image = image.convert("L")
        image.info["transparency"] = key * KEY_SCALES[raw]
    elif isinstance(key, tuple) and "16" in raw:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    return image.convert("RGBA")


def _flat(path: str, image: Any, background: Colour, tops: Mapping[str, float]) -> Any:
    """A decoded, upright picture of 8 bits without transparency, in "L" or in a mode of colours."""
    from PIL import Image

    raw, key = raw_mode(image), image.info.get("transparency")
    picture, alpha = _upright(image), image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    if is_deep(image):
        values = _levels(path, picture)
        top = tops.get(image.mode[0]) or top_of(float(values.max()), image.mode[0] == "I")
        picture = Image.fromarray(_eight_bits(values, top))
        if isinstance(key, int):
            opaque = np.where(values == key, 0, 255).astype(np.uint8)
            picture, alpha = Image.merge("LA", (picture, Image.fromarray(opaque))), True
    elif key is not None or (image.mode == "P" and image.palette.mode.endswith("A")):
        picture, alpha = _with_alpha(picture, raw), True
    if not alpha:
        return picture
    below = Image.new("RGBA", picture.size, (*background, 255))
    return Image.alpha_composite(below, picture.convert("RGBA"))


def top_of(largest: float, whole: bool) -> float:
    """The value that stands for white where the largest grey level is this.

    For floats up to 1 it is 1. Otherwise it is the largest value of the smallest depth that fits;
    of a depth that `largest` would fill by less than a third (`whole` numbers: a quarter), and
    above 16 bits, it is `largest` itself. One warning names what is a guess.
    """
    share, slack = (1 / 4, 0.0) if whole else (1 / 3, ROUNDING)
    if not whole and largest <= 1 + slack:
        if 0 < largest < 1 / 16:
            warnings.warn(f"grey floats hold none above {largest:g}: read as 0 to 1", stacklevel=2)
        return 1.0
    tops = (2.0**bits - 1 for bits in DEPTHS)
    top = next((top for top in tops if largest <= top * (1 + slack)), 0.0)
    kind = "files of 16 bits or more" if whole else "floats"
    if largest == 0:
        return 255.0
    if not share * top < largest <= top * (1 + slack):
        warnings.warn(f"grey {kind} hold none above {largest:g}, read as white", stacklevel=2)
        return largest
    if whole and top < 65535:
        bits = int(top).bit_length()
        text = f"grey {kind} hold none above {top:.0f}: read as {bits}-bit"
        warnings.warn(text, stacklevel=2)
    return top


def _decoded(path: str, use: Callable[[Any], Any]) -> Any:
    """`use(image)` of an opened image. Raises DataError naming a file that cannot be decoded."""
    try:
        with warnings.catch_warnings(), open_image(path) as image:
            warnings.simplefilter("ignore")
            return use(image)
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DataError(f"image {path!r} cannot be decoded ({reason})") from error


def brightest(path: str) -> float:
    """The largest grey level of a deep file. Raises DataError if it cannot be read."""
    return _decoded(path, lambda image: float(_levels(path, _upright(image)).max()))


def upper_half(path: str) -> int:
    """The largest upper half of a 16-bit colour that can be seen; 255 where black is all there is
    beside transparent pixels. Raises DataError if the file cannot be read.
    """

    def largest(image: Any) -> int:
        x = np.asarray(_with_alpha(image, raw_mode(image)))
        seen = x[x[..., 3] > 0, :3].max(initial=0)
        return 255 if seen == 0 and x[..., 3].min() < 255 else int(seen)

    return _decoded(path, largest)


def shows_colour(path: str, background: Colour = WHITE) -> bool:
    """Whether any pixel of a file has red, green and blue that differ."""

    def differs(image: Any) -> bool:
        x = np.asarray(_flat(path, image, background, {}).convert("RGB"))
        return bool((x != x[..., :1]).any())

    return _decoded(path, differs)


def read_pixels(path: str, manner: Manner) -> np.ndarray:
    """One file, uint8 [H, W, C]. Raises DataError if it cannot be read."""
    from PIL import Image, ImageOps

    def pixels(image: Any) -> np.ndarray:
        picture = _flat(path, image, manner.background, manner.tops)
        picture = picture.convert("L" if manner.grey else "RGB")
        if manner.fit is not None and picture.size != manner.fit:
            picture = ImageOps.fit(picture, manner.fit, Image.Resampling.BICUBIC)
        return np.asarray(picture)

    x = _decoded(path, pixels)
    return x[..., None] if manner.grey else x


def read_image(path: str, background: Colour = WHITE) -> np.ndarray:
    """One file by itself, uint8 [H, W, C], C 1 or 3. Raises DataError if it cannot be read."""
    with open_image(path) as image:
        grey, palette = stored_grey(image, background), image.mode in ("P", "PA")
        cut, deep, mode = is_cut(image), is_deep(image), image.mode[0]
    tops = {mode: top_of(brightest(path), mode == "I")} if deep else {}
    grey = grey or (palette and not shows_colour(path, background))
    x = read_pixels(path, Manner(grey, None, background, tops))
    if cut:
        check_bits(f"image {path!r} is of 16-bit colours", upper_half(path))
    return x
