"""Scenes of two shapes with a sentence about each: `shapes`, or `shapes:SIZE` for another side.

    a large red circle left of a small blue square

Scenes are drawn, so that there are as many as needed, and every word of a sentence can be
checked by the pixels alone (`attributes`). Pairs of a colour and a shape in HELD_OUT occur in
neither split: `scenes(held_out=True)` asks for them, which shows what a model makes of words that
it has learnt in combinations that were not in its training set.
"""

from functools import lru_cache
from itertools import product

import numpy as np
from scipy import ndimage

from gen_jax.checks import as_array, no_type_check
from gen_jax.data.sentences import Sentences
from gen_jax.errors import ConfigError, DataError, check_flag, check_range, shown
from gen_jax.types import Bool, Float, Int, UInt8

PREFIX = "shapes:"
SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")
RELATIONS = ("left of", "right of", "above", "below")
RGB = np.array([[255, 0, 0], [0, 255, 0], [0, 64, 255], [255, 224, 0]], np.float64)
RADII = (0.125, 0.2)
"""Of the sizes, in sides of the image; a square has sides of 1.8 radii, a triangle of 2 by 2."""
SPREAD, GAP, SLANT = 0.06, 0.125, 0.6
"""Relative spread of a radius; least distance of two objects in sides of the image (two pixels of
the smallest); and of the distance along a relation the share by which they may differ across it."""
DIM = 0.1
"""Pixels that a shape covers less than this are not seen."""

ATTRIBUTES = ("size", "colour", "shape")
CHOICES = (SIZES, COLOURS, SHAPES)
HELD_OUT = ((0, 2), (1, 0), (2, 1))
"""(colour, shape): no red triangle, no green circle, no blue square in the data."""

SIDE, SIDES = 32, range(16, 257, 8)
COUNTS = {"train": 8192, "test": 1024}

Scenes = Int[np.ndarray, "N 7"]
"""Size, colour and shape of the first object, the relation, and the same of the second."""


def _words() -> set[str]:
    return {"a", *(word for names in (*CHOICES, RELATIONS) for n in names for word in n.split())}


SENTENCES = Sentences.of(_words(), 10)


@no_type_check
def parse(name: str) -> int:
    """SIZE of `shapes:SIZE`. Raises ConfigError for another name."""
    size = name.removeprefix(PREFIX)
    if size not in map(str, SIDES):
        raise ConfigError(
            f"dataset={name!r}: SIZE={size!r} must be a multiple of {SIDES.step} in "
            f"[{SIDES[0]}, {SIDES[-1]}]"
        )
    return int(size)


@no_type_check
def _checked(argument: str, given: Scenes) -> Scenes:
    """Rows of scenes. Raises DataError for what are none."""
    rows = np.asarray(as_array(argument, given))
    highest = [len(c) - 1 for c in (*CHOICES, RELATIONS, *CHOICES)]
    whole = rows.ndim == 2 and rows.shape[-1:] == (7,) and np.issubdtype(rows.dtype, np.integer)
    if not whole or ((rows < 0) | (rows > highest)).any():
        what = f"{rows.tolist()}" if rows.size <= 7 else f"{shown(rows)}"
        raise DataError(f"{argument} is {what}, must be integers [N, 7] from 0 up to {highest}")
    return rows.astype(np.int32)


@no_type_check
def sentence(scene: Int[np.ndarray, "7"]) -> str:
    """The sentence of one scene. Raises DataError for what is none."""
    row = _checked("scene", np.asarray(as_array("scene", scene))[None])[0]
    noun = lambda three: " ".join(names[i] for names, i in zip(CHOICES, three))
    return f"a {noun(row[:3])} {RELATIONS[row[3]]} a {noun(row[4:])}"


@no_type_check
def tokens(rows: Scenes) -> Int[np.ndarray, "N T"]:
    """The sentences of scenes. Raises DataError for what are none."""
    found = [SENTENCES.encode(sentence(row)) for row in _checked("rows", rows)]
    return np.array(found, np.int32).reshape(-1, SENTENCES.length)


def _is_held_out(scenes: Scenes) -> np.ndarray:
    """Whether one of a scene's objects is of a pair in HELD_OUT, [N]."""
    pairs = [scenes[:, first + 1 : first + 3] for first in (0, 4)]
    return np.any([(p == held).all(1) for p, held in product(pairs, HELD_OUT)], axis=0)


@lru_cache
def _possible(held_out: bool) -> Scenes:
    """All scenes without, or with one object in HELD_OUT, whose objects are not alike."""
    objects = [(s, c, k) for s, c, k in product(*(range(len(names)) for names in CHOICES))]
    rows = [(*a, r, *b) for a, r, b in product(objects, range(len(RELATIONS)), objects) if a != b]
    every = np.array(rows, np.int32)
    return every[_is_held_out(every) == held_out]


@no_type_check
def scenes(count: int, seed: int = 0, *, held_out: bool = False) -> Scenes:
    """`count` scenes [N, 7] at random, all equally probable, always the same for a seed.

    Args:
      held_out: scenes of which an object is of a pair in HELD_OUT, instead of those without.
    Raises ConfigError for values out of range.
    """
    check_range("count", count, 1, integer=True)
    check_range("seed", seed, 0, integer=True)
    possible = _possible(check_flag("held_out", held_out))
    rng = np.random.default_rng((seed, held_out))
    return possible[rng.integers(0, len(possible), count)]


def _distance(
    shape: np.ndarray, radius: np.ndarray, x: np.ndarray, y: np.ndarray
) -> Float[np.ndarray, "N H W"]:
    """Signed distance in pixels from the outline, below 0 inside (of corners: to the lines)."""
    circle = np.sqrt(x**2 + y**2) - radius
    square = np.maximum(np.abs(x), np.abs(y)) - 0.9 * radius
    # Of a triangle with its tip up: the lines y = r and, through the tip, 2 |x| = y + r.
    slope = (2 * np.abs(x) - y - radius) / np.sqrt(5)
    triangle = np.maximum(np.abs(y) - radius, slope)
    return np.choose(shape, [circle, square, triangle])


def _coverage(
    shape: np.ndarray, radius: np.ndarray, x: np.ndarray, y: np.ndarray, side: int
) -> Float[np.ndarray, "N H W"]:
    """The share of every pixel that lies in a shape of this centre, all [N] in pixels."""
    line = np.arange(side) + 0.5
    column = lambda value: value[:, None, None]
    dx, dy = line[None, None, :] - column(x), line[None, :, None] - column(y)
    return np.clip(0.5 - _distance(column(shape), column(radius), dx, dy), 0, 1)


def _placed(rng: np.random.Generator, rows: Scenes, side: int) -> tuple[np.ndarray, ...]:
    """Radii, x and y [N, 2] of both objects, apart along the relation and inside the image."""
    n, ends = len(rows), rng.random((5, len(rows)))
    radii = np.array(RADII)[rows[:, [0, 4]]] * (1 + SPREAD * rng.uniform(-1, 1, (n, 2)))
    between = lambda u, low, high: low + u * np.maximum(high - low, 0)
    along, across = rows[:, 3] // 2, rows[:, 3] % 2  # 1: vertical; 1: the second comes first
    first = np.where(across[:, None], radii[:, ::-1], radii)
    total = first.sum(1)
    apart = between(ends[0], total + GAP, 1 - total)
    start = between(ends[1], first[:, 0], 1 - first[:, 1] - apart)
    one = between(ends[2], first[:, 0], 1 - first[:, 0])
    low = np.maximum(first[:, 1], one - SLANT * apart)
    other = between(ends[3], low, np.minimum(1 - first[:, 1], one + SLANT * apart))
    main, cross = np.stack([start, start + apart], 1), np.stack([one, other], 1)
    flip = lambda pair: np.where(across[:, None], pair[:, ::-1], pair)
    main, cross = flip(main), flip(cross)
    vertical = along[:, None].astype(bool)
    x, y = np.where(vertical, cross, main), np.where(vertical, main, cross)
    return radii * side, x * side, y * side


@no_type_check
def render(rows: Scenes, side: int = SIDE, seed: int = 0) -> UInt8[np.ndarray, "N H W 3"]:
    """Antialiased pictures of scenes on black, at places and of radii that the seed draws.

    Raises ConfigError or DataError for what cannot be drawn.
    """
    rows = _checked("rows", rows)
    check_range("side", side, SIDES[0], SIDES[-1], integer=True)
    rng = np.random.default_rng((check_range("seed", seed, 0, integer=True), 2))
    radii, x, y = _placed(rng, rows, side)
    image = np.zeros((len(rows), side, side, 3))
    for which, first in enumerate((0, 4)):
        _, colour, shape = rows[:, first : first + 3].T
        parts = (shape, radii[:, which], x[:, which], y[:, which])
        image += _coverage(*parts, side)[..., None] * RGB[colour][:, None, None]
    return np.round(np.minimum(image, 255)).astype(np.uint8)


@lru_cache
def read_shapes(side: int, split: str) -> dict[str, np.ndarray]:
    """A split: images "x", tokens "caption" and the rows "scene", none of them held out."""
    seed = list(COUNTS).index(split)
    rows = scenes(COUNTS[split], seed)
    return {"x": render(rows, side, seed), "caption": tokens(rows), "scene": rows}


def _harmonics(
    weights: Float[np.ndarray, "K H W"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mass, x and y of the centre, and [|E z^3| / E|z|^2^(3/2), Re E z^4 / E|z|^2^2] of the places
    z = x + i y around it: 0 of a circle, the first of a triangle alone, the second of a square.
    """
    side = weights.shape[1]
    line = np.arange(side) + 0.5
    mass = weights.sum((1, 2))
    mean = lambda value: (weights * value).sum((1, 2)) / mass
    x, y = mean(line[None, None, :]), mean(line[None, :, None])
    z = line[None, None, :] - x[:, None, None] + 1j * (line[None, :, None] - y[:, None, None])
    square = mean(np.abs(z) ** 2)
    third, fourth = np.abs(mean(z**3)) / square**1.5, mean(z**4).real / square**2
    return mass, x, y, np.stack([third, fourth], 1)


@lru_cache
def _patterns(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Log mass and harmonics of every size and shape in the middle of the image, [6, 3]; and which
    these are, [6, 2]."""
    kinds = np.array(list(product(range(len(SIZES)), range(len(SHAPES)))))
    middle = np.full(len(kinds), side / 2)
    radius = np.array(RADII)[kinds[:, 0]] * side
    mass, _, _, numbers = _harmonics(_coverage(kinds[:, 1], radius, middle, middle, side))
    return np.column_stack([np.log(mass), numbers]), kinds


def _pieces(
    x: UInt8[np.ndarray, "N H W 3"], least: float
) -> tuple[Int[np.ndarray, "K"], Bool[np.ndarray, "K H W"]]:
    """Connected pieces of at least this mass: their pictures, in order, and their pixels."""
    bright = x.max(-1) / 255
    within = ndimage.generate_binary_structure(3, 1)
    within[[0, 2]] = False  # pictures do not touch each other
    pieces, count = ndimage.label(bright > DIM, within)
    index = np.arange(1, count + 1)
    index = index[ndimage.sum_labels(bright, pieces, index) > least]
    places = ndimage.find_objects(pieces)
    owner = np.array([places[i - 1][0].start for i in index], int)
    return owner, pieces[owner] == index[:, None, None]


def _objects(
    x: UInt8[np.ndarray, "N H W 3"], mask: Bool[np.ndarray, "N H W"]
) -> Float[np.ndarray, "N 5"]:
    """Size, colour, shape, and the place of the centre of one piece of each picture."""
    weights = np.where(mask, x.max(-1) / 255, 0)
    mass, centre_x, centre_y, numbers = _harmonics(weights)
    mean = (mask[..., None] * x).sum((1, 2)) / mass[:, None]
    colour = ((mean[:, None] - RGB) ** 2).sum(-1).argmin(1)
    patterns, kinds = _patterns(x.shape[1])
    off = np.column_stack([np.log(mass), numbers])[:, None] - patterns
    size, shape = kinds[(off**2).sum(-1).argmin(1)].T
    return np.column_stack([size, colour, shape, centre_x, centre_y])


@no_type_check
def attributes(images: UInt8[np.ndarray, "N H W 3"]) -> Scenes:
    """What is to be seen in pictures, by their pixels alone: rows of scenes.

    Only the relations "left of" and "above" occur, with the object that comes first in that order;
    `canonical` brings a scene into this form. A row is -1 where there are not two objects, which
    are connected pieces of at least a third of the smallest one's mass. The colour is the nearest
    to a piece's mean, size and shape are those of the nearest pattern in mass and harmonics.
    Raises DataError for what are no such pictures, and for sides that no set of scenes has.
    """
    x = np.asarray(as_array("images", images))
    square = x.ndim == 4 and x.shape[1] == x.shape[2] and x.shape[1] in SIDES
    if not square or x.shape[-1] != 3 or x.dtype != np.uint8:
        raise DataError(
            f"images is {shown(x)}, must be uint8 [N, H, H, 3], H a multiple of {SIDES.step} in "
            f"[{SIDES[0]}, {SIDES[-1]}]"
        )
    found = np.full((len(x), 7), -1, np.int32)
    if not len(x):
        return found
    owner, masks = _pieces(x, np.exp(_patterns(x.shape[1])[0][:, 0].min()) / 3)
    first = np.flatnonzero(np.bincount(owner, minlength=len(x))[owner] == 2)[::2]
    if not len(first):
        return found
    pictures = owner[first]
    one, other = (_objects(x[pictures], masks[first + which]) for which in (0, 1))
    gap = other[:, 3:] - one[:, 3:]
    vertical = np.abs(gap[:, 1]) > np.abs(gap[:, 0])
    swap = (np.where(vertical, gap[:, 1], gap[:, 0]) < 0)[:, None]
    left, right = np.where(swap, other, one), np.where(swap, one, other)
    found[pictures] = np.column_stack([left[:, :3], 2 * vertical, right[:, :3]])
    return found


@no_type_check
def canonical(rows: Scenes) -> Scenes:
    """Scenes in the form of `attributes`: "right of" and "below" turned round."""
    rows = _checked("rows", rows)
    turned = np.column_stack([rows[:, 4:], rows[:, 3] - 1, rows[:, :3]])
    return np.where((rows[:, 3] % 2 == 1)[:, None], turned, rows).astype(np.int32)
