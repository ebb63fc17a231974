"""Names of datasets that begin with a prefix: a row of PREFIXES is all that another one needs."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from gen_jax.data import (
    binarized,
    captions,
    folder,
    images,
    known_densities,
    mutated,
    pairs,
    shapes,
    text,
    textures,
)
from gen_jax.data.entries import SPLITS, DatasetEntry
from gen_jax.data.named import DATASETS, shapes_entry, text_entry
from gen_jax.errors import ConfigError, check_choice


class Prefix(NamedTuple):
    """What names with a prefix stand for.

    Fields:
      entry: `name -> DatasetEntry`; raises ConfigError or DataError for a malformed name.
      forms: what may follow the prefix, each with one line.
    """

    entry: Callable[[str], DatasetEntry]
    forms: Mapping[str, str]


def _images(base: str, name: str) -> DatasetEntry:
    """The entry of a set of images in DATASETS, part of `name`. Raises ConfigError for others."""
    choices = [n for n, entry in DATASETS.items() if entry.kind == "images"]
    check_choice(f"dataset={name!r}: NAME", base, choices)
    return DATASETS[base]


def _tfds(name: str) -> DatasetEntry:
    builder, size = images.parse(name)
    load = lambda split: images.read_tfds(builder, split, size)
    return DatasetEntry("a set of TensorFlow Datasets", "images", None, load)


def _folder(name: str) -> DatasetEntry:
    return DatasetEntry("your own images", "images", None, partial(folder.read_folder, name))


def _file(name: str) -> DatasetEntry:
    load = partial(textures.read_patches, name)
    return DatasetEntry("patches of your own picture", "images", 0, load)


def _text(name: str) -> DatasetEntry:
    return text_entry("your own text", *text.parse(name))


def _target(name: str) -> DatasetEntry:
    target, load = known_densities.target_of(name), partial(known_densities.read_target, name)
    dim = target.dim if target.sample is None else None
    return DatasetEntry("exact samples of a known density", "points", 0, load, dim=dim)


@lru_cache
def _read_binarized(base: str, seed: int, split: str) -> dict[str, np.ndarray]:
    arrays = DATASETS[base].load(split)
    return {**arrays, "x": binarized.binarise(arrays["x"], seed, SPLITS.index(split))}


def _binarized(name: str) -> DatasetEntry:
    base, seed = binarized.parse(name)
    entry = _images(base, name)
    load = partial(_read_binarized, base, seed)
    return entry._replace(description=f"{entry.description}; black and white", load=load)


@lru_cache
def _read_mutated(base: str, rate: float, split: str) -> dict[str, np.ndarray]:
    arrays = DATASETS[base].load(split)
    return {**arrays, "x": mutated.mutate(arrays["x"], rate, SPLITS.index(split))}


def _mutated(name: str) -> DatasetEntry:
    base, rate = mutated.parse(name)
    entry = _images(base, name)
    description = f"{entry.description}; with noise in some pixels"
    return entry._replace(description=description, load=partial(_read_mutated, base, rate))


@lru_cache
def _read_pairs(kind: str, bases: tuple[str, ...], split: str) -> dict[str, np.ndarray]:
    sets = [DATASETS[base].load(split) for base in bases]
    if kind == "domains":
        return pairs.unpaired(bases, *sets)
    return pairs.make(kind, sets[0], DATASETS[bases[0]].num_classes or 0)


def _pairs(name: str) -> DatasetEntry:
    pair = pairs.parse(name)
    assert pair is not None
    kind, bases = pair
    entries = [_images(base, name) for base in bases]
    description = " beside ".join(entry.description for entry in entries)
    load = partial(_read_pairs, kind, bases)
    description = f"{kind}: {description}"
    return entries[0]._replace(description=description, load=load, vocabulary=None)


@lru_cache
def _read_captioned(base: str, split: str) -> dict[str, np.ndarray]:
    return captions.make(DATASETS[base].load(split), SPLITS.index(split))


def _captioned(name: str) -> DatasetEntry:
    base = name.removeprefix(captions.PREFIX)
    entry = _images(base, name)
    if base in captions.NOT_DIGITS:
        raise ConfigError(f"dataset={name!r} needs a set of grey digits, with their labels")
    description = f"{entry.description}; with captions"
    load, words = partial(_read_captioned, base), lambda: captions.SENTENCES
    return entry._replace(description=description, load=load, vocabulary=words)


PREFIXES: dict[str, Prefix] = {
    folder.PREFIX: Prefix(
        _folder,
        {
            "PATH": "your own images, all of one size",
            "PATH@SIZE": "your own images, cropped to squares and resized to SIZE x SIZE",
            "PATH@COLOUR": "the same behind transparent pixels, such as black or #ff8000, "
            "not white",
        },
    ),
    textures.PREFIX: Prefix(
        _file,
        {
            "PATH": "patches of your own picture, 128x128 if it is large enough",
            "PATH@SIZE": "patches of your own picture, SIZE x SIZE",
            "PATH@COLOUR": "the same with a colour behind transparent pixels",
        },
    ),
    binarized.PREFIX: Prefix(
        _binarized,
        {
            "NAME": "one of the sets of images, each pixel drawn black or white once (seed 0)",
            "NAME@SEED": "the same with another seed",
        },
    ),
    captions.PREFIX: Prefix(
        _captioned, {"NAME": "digits with a sentence about each: which one, its strokes, its ink"}
    ),
    shapes.PREFIX: Prefix(
        lambda name: shapes_entry(shapes.parse(name)),
        {"SIZE": "two shapes and a sentence about them, SIZE x SIZE, 16 or more"},
    ),
    "edges:": Prefix(
        _pairs, {"NAME": "pairs: the outlines of an image, and the image, side by side"}
    ),
    "thick:": Prefix(_pairs, {"NAME": "pairs: an image, and the same with thicker strokes"}),
    "colour:": Prefix(
        _pairs,
        {"NAME": "pairs: an image in grey, and in colour (of its label, if it was grey)"},
    ),
    "domains:": Prefix(_pairs, {"A+B": "images of one set beside those of another, unpaired"}),
    mutated.PREFIX: Prefix(
        _mutated,
        {
            "NAME": "one of the sets of images, a tenth of its pixels replaced by noise",
            "NAME@RATE": "the same with another share",
        },
    ),
    known_densities.PREFIX: Prefix(
        _target,
        {
            "NAME": "exact samples of a known density (targets below)",
            "NAME@DIM": "the same in another dimension",
        },
    ),
    text.PREFIX: Prefix(
        _text,
        {
            "PATH": "your own text, by characters",
            "PATH@VOCABULARY": "your own text, by so many byte pairs",
        },
    ),
    images.PREFIX: Prefix(
        _tfds,
        {
            "NAME": "any other set of TensorFlow Datasets with an `image` of one size",
            "NAME@SIZE": "any of them, cropped to squares and resized to SIZE x SIZE",
        },
    ),
}
"""Prefix of a name, with its colon -> what such names stand for."""

PATTERNS: dict[str, str] = {
    prefix + form: line for prefix, row in PREFIXES.items() for form, line in row.forms.items()
}
"""Forms of a name besides those in DATASETS, with one line each."""
