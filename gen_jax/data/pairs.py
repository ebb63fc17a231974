"""Pairs of images, made from sets of images: a source, left, and a target, right, in one picture.

edges:NAME    the outlines of an image, and the image
thick:NAME    an image, and the same with its bright strokes one pixel thicker on each side
colour:NAME   grey and coloured: of a colour set its luma; of a grey one with labels, a hue a label
domains:A+B   images of A and images of B that have nothing to do with each other

A pair is stored as isola2017 stores them: [H, 2 W, C], so that it is an image like any other.
Labels are those of the image, or of A's.
"""

import colorsys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gen_jax.errors import ConfigError, DataError
from gen_jax.types import UInt8

Images = UInt8[np.ndarray, "N H W C"]
Grey = UInt8[np.ndarray, "N H W 1"]
Pairs = UInt8[np.ndarray, "N H W2 D"]
"""W2 = 2 W; D is the larger number of channels."""

THRESHOLD = 96.0
"""Least change of grey levels between the two neighbours of an edge."""


class PairName(NamedTuple):
    """What a name like "edges:digits" says: the kind of pairs, and the sets they are made of."""

    kind: str
    bases: tuple[str, ...]


def parse(name: str) -> PairName | None:
    """The parts of a name of pairs, None for other names.

    Raises ConfigError for a malformed one.
    """
    kind, colon, rest = name.partition(":")
    if not colon or kind not in {*MAKERS, "domains"}:
        return None
    bases = tuple(rest.split("+")) if kind == "domains" else (rest,)
    if kind == "domains" and len(bases) != 2:
        raise ConfigError(f"dataset={name!r} is malformed (expected domains:A+B)")
    return PairName(kind, bases)


def luma(x: Images) -> Grey:
    """Grey [N, H, W, 1] of colours (ITU-R BT.601), or of grey itself."""
    if x.shape[-1] == 1:
        return x
    return np.round(x @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]


def _neighbours(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Those before and after each pixel along an axis; the border's own outside."""
    padded = np.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(x.ndim)], mode="edge")
    n = x.shape[axis]
    return padded.take(range(n), axis), padded.take(range(2, n + 2), axis)


def outlines(x: Images) -> Grey:
    """White [N, H, W, 1] where grey changes fastest, black elsewhere (canny1986, one threshold).

    Central differences by rows and by columns; along the steeper of the two axes a pixel must
    exceed the one before it and not be below the one after.
    """
    grey = luma(x).astype(np.float32)
    slopes = [np.abs(np.subtract(*_neighbours(grey, axis))) for axis in (1, 2)]
    size = np.hypot(*slopes)
    peak = [
        (size > before) & (size >= after)
        for before, after in (_neighbours(size, axis) for axis in (1, 2))
    ]
    edge = np.where(slopes[0] > slopes[1], *peak) & (size >= THRESHOLD)
    return np.where(edge, np.uint8(255), np.uint8(0))


def thicken(x: Images) -> Images:
    """The brightest of each pixel and its four neighbours: a grey dilation."""
    near = [side for axis in (1, 2) for side in _neighbours(x, axis)]
    return np.maximum.reduce([x, *near])


def paint(x: Grey, y: np.ndarray, num_classes: int) -> UInt8[np.ndarray, "N H W 3"]:
    """Grey [N, H, W, 1] as brightness of the hue y / num_classes, red being 0: [N, H, W, 3]."""
    hues = np.array([colorsys.hsv_to_rgb(k / num_classes, 1, 1) for k in range(num_classes)])
    return np.round(x * hues[y][:, None, None]).astype(np.uint8)


def join(source: UInt8[np.ndarray, "N H W C"], target: UInt8[np.ndarray, "N H W D"]) -> Pairs:
    """Source and target beside each other; a grey source beside colours is given three channels."""
    source = np.broadcast_to(source, (*source.shape[:3], target.shape[3]))
    return np.concatenate([source, target], 2)


def _edges(arrays: Mapping[str, np.ndarray], num_classes: int) -> Pairs:
    return join(outlines(arrays["x"]), arrays["x"])


def _thick(arrays: Mapping[str, np.ndarray], num_classes: int) -> Pairs:
    return join(arrays["x"], thicken(arrays["x"]))


def _colour(arrays: Mapping[str, np.ndarray], num_classes: int) -> Pairs:
    x = arrays["x"]
    if x.shape[-1] == 1 and "y" not in arrays:
        raise DataError("colour:NAME needs images in colour, or labels to choose colours by")
    return join(luma(x), paint(x, arrays["y"], num_classes) if x.shape[-1] == 1 else x)


MAKERS: dict[str, Callable[[Mapping[str, np.ndarray], int], Pairs]] = {
    "edges": _edges,
    "thick": _thick,
    "colour": _colour,
}
"""`({"x", "y"}, num_classes) -> pairs` for the kinds made of one set."""


def make(kind: str, arrays: Mapping[str, np.ndarray], num_classes: int) -> dict[str, np.ndarray]:
    """The pairs of a kind in MAKERS, with the labels of their images."""
    return {**arrays, "x": MAKERS[kind](arrays, num_classes)}


def unpaired(
    names: Sequence[str], left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Images of two sets side by side, in an order that has nothing to do with what they show.

    Raises DataError for sets of different shapes.
    """
    a, b = left["x"], right["x"]
    if a.shape[1:] != b.shape[1:]:
        raise DataError(
            f"domains:{'+'.join(names)} differ in shape: {a.shape[1:]} and {b.shape[1:]}"
        )
    n = min(len(a), len(b))
    shuffle = np.random.RandomState(0)  # its stream is frozen, unlike default_rng's
    rows = [shuffle.permutation(len(x))[:n] for x in (a, b)]
    labels = {"y": left["y"][rows[0]]} if "y" in left else {}
    return {"x": join(a[rows[0]], b[rows[1]]), **labels}
