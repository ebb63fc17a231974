"""Datasets by name: what there is, the arrays, and what a model must know about them."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.conditions import Labels, labels
from gen_jax.data import (
    binarized,
    captions,
    folder,
    images,
    known_densities,
    mutated,
    pairs,
    picture,
    text,
    textures,
    toy,
)
from gen_jax.data.loader import subset
from gen_jax.errors import ConfigError, DataError, check_choice, check_text
from gen_jax.types import Array, Float, Key

SPLITS = ("train", "test")
TOY_COUNTS = {"train": 20_000, "test": 10_000}


class DatasetEntry(NamedTuple):
    """One dataset.

    Fields:
      description: one line.
      kind: "points", "images" or "text".
      num_classes: number of labels, 0 without labels, None when only the data can tell.
      load: `split -> {"x": ..., "y": ...}`.
      vocabulary: of text, `() -> Vocabulary`.
    """

    description: str
    kind: str
    num_classes: int | None
    load: Callable[[str], dict[str, np.ndarray]]
    vocabulary: Callable[[], text.Vocabulary] | None = None


@dataclass(frozen=True)
class DatasetSpec:
    """What a run keeps of its dataset, so that it can be sampled without the data.

    Fields:
      kind: "points", "images" or "text".
      shape: of one example, [H, W, C], [2] or [T].
      dtype: of the examples.
      num_classes: 0 without labels.
      mean, std: of the training set; for images one number each, after scaling to [-1, 1] (without
        dequantisation noise); for points one per dimension; of text 0 and 1.
      vocabulary: of text, what `Vocabulary.from_json` reads; else empty.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    num_classes: int
    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    num_train: int
    num_test: int
    vocabulary: str = ""

    @property
    def condition(self) -> Labels | None:
        """What a class-conditional model of these data takes, None where there are no labels."""
        return labels(self.num_classes) if self.num_classes else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        values = asdict(self).items()
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DatasetSpec":
        """Inverse of `to_dict`. Raises DataError for a missing or unknown field."""
        names = {field.name for field in fields(cls)}
        odd = sorted((values.keys() | {"vocabulary"}) ^ names)
        if odd:
            raise DataError(f"dataset description has missing or unknown fields: {odd}")
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**plain)


@partial(jax.jit, static_argnums=0)
def _draw(name: str, key: Key[Array, ""]) -> Float[Array, "N 2"]:
    return toy.TOY[name](key, max(TOY_COUNTS.values()))


@lru_cache
def _points(name: str, split: str) -> dict[str, np.ndarray]:
    seed = int.from_bytes(hashlib.sha256(f"{name}/{split}".encode()).digest()[:4], "big") >> 1
    with jax.enable_x64(False):  # the points must not depend on that setting
        x = _draw(name, jax.random.key(seed))
    return {"x": np.asarray(x)[: TOY_COUNTS[split]]}


def _load_tfds(builder: str, size: int | None, split: str) -> dict[str, np.ndarray]:
    return images.read_tfds(builder, split, size)


def _tfds(
    description: str,
    builder: str,
    num_classes: int,
    size: int | None = None,
    transpose: bool = False,
) -> DatasetEntry:
    load = lambda split: images.read_tfds(builder, split, size, transpose)
    return DatasetEntry(description, "images", num_classes, load)


def _text(description: str, path: str, size: int | None) -> DatasetEntry:
    load = partial(text.read_windows, path, size)
    return DatasetEntry(description, "text", 0, load, partial(text.vocabulary_of, path, size))


DATASETS: dict[str, DatasetEntry] = {
    **{
        name: DatasetEntry(toy.DESCRIPTIONS[name], "points", 0, partial(_points, name))
        for name in toy.TOY
    },
    "digits": DatasetEntry(
        "handwritten digits, 8x8 grey, bundled with scikit-learn", "images", 10, images.read_digits
    ),
    "faces": DatasetEntry(
        "100 faces, 25x25 grey, bundled with scikit-image", "images", 0, textures.read_faces
    ),
    **{
        name: DatasetEntry(
            f"patches of a picture of {name}, 128x128 grey, bundled with scikit-image",
            "images",
            0,
            partial(textures.read_patches, name),
        )
        for name in textures.TEXTURES
    },
    "genesis": _text(
        "the book of Genesis (King James), 197 kB, by characters", str(text.GENESIS), None
    ),
    "genesis_pairs": _text(
        "the same by 1024 byte pairs (needs tokenizers)", str(text.GENESIS), 1024
    ),
    "mnist": _tfds("handwritten digits, 28x28 grey", "mnist", 10),
    "fashion_mnist": _tfds("pieces of clothing, 28x28 grey", "fashion_mnist", 10),
    "kmnist": _tfds("cursive Japanese characters, 28x28 grey", "kmnist", 10),
    "emnist": _tfds(
        "handwritten letters and digits, 28x28 grey", "emnist/balanced", 47, transpose=True
    ),
    "cifar10": _tfds("natural images of 10 classes, 32x32 colour", "cifar10", 10),
    "cifar100": _tfds("natural images of 100 classes, 32x32 colour", "cifar100", 100),
    "svhn_cropped": _tfds("house numbers, 32x32 colour", "svhn_cropped", 10),
    "celeb_a": _tfds("faces, centre crop at 64x64 colour, no labels", "celeb_a", 0, size=64),
}
"""Datasets by name; `load` also takes the forms in PATTERNS."""

PATTERNS: dict[str, str] = {
    "folder:PATH": "your own images, all of one size",
    "folder:PATH@SIZE": "your own images, cropped to squares and resized to SIZE x SIZE",
    "folder:PATH@COLOUR": "the same behind transparent pixels, such as black or #ff8000, not white",
    "file:PATH": "patches of your own picture, 128x128 if it is large enough",
    "file:PATH@SIZE": "patches of your own picture, SIZE x SIZE",
    "file:PATH@COLOUR": "the same with a colour behind transparent pixels",
    "binarized:NAME": "one of the sets of images, each pixel drawn black or white once (seed 0)",
    "binarized:NAME@SEED": "the same with another seed",
    "captions:NAME": "digits with a sentence about each: which one, its strokes, its ink",
    "edges:NAME": "pairs: the outlines of an image, and the image, side by side",
    "thick:NAME": "pairs: an image, and the same with thicker strokes",
    "colour:NAME": "pairs: an image in grey, and in colour (of its label, if it was grey)",
    "domains:A+B": "images of one set beside those of another, unpaired",
    "mutated:NAME": "one of the sets of images, a tenth of its pixels replaced by noise",
    "mutated:NAME@RATE": "the same with another share",
    "target:NAME": "exact samples of a known density (targets below)",
    "target:NAME@DIM": "the same in another dimension",
    "text:PATH": "your own text, by characters",
    "text:PATH@VOCABULARY": "your own text, by so many byte pairs",
    "tfds:NAME": "any other set of TensorFlow Datasets with an `image` of one size",
    "tfds:NAME@SIZE": "any of them, cropped to squares and resized to SIZE x SIZE",
}
"""Forms of a name besides those in DATASETS."""


@lru_cache
def _read_binarized(base: str, seed: int, split: str) -> dict[str, np.ndarray]:
    arrays = DATASETS[base].load(split)
    return {**arrays, "x": binarized.binarise(arrays["x"], seed, SPLITS.index(split))}


def _images(base: str, name: str) -> DatasetEntry:
    """The entry of a set of images in DATASETS, part of `name`. Raises ConfigError for others."""
    choices = [n for n, entry in DATASETS.items() if entry.kind == "images"]
    check_choice(f"dataset={name!r}: NAME", base, choices)
    return DATASETS[base]


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


def _pairs(kind: str, bases: tuple[str, ...], name: str) -> DatasetEntry:
    entries = [_images(base, name) for base in bases]
    description = " beside ".join(entry.description for entry in entries)
    load = partial(_read_pairs, kind, bases)
    return entries[0]._replace(description=f"{kind}: {description}", load=load)


@lru_cache
def _read_captioned(base: str, split: str) -> dict[str, np.ndarray]:
    return captions.make(DATASETS[base].load(split), SPLITS.index(split))


def _captioned(name: str) -> DatasetEntry:
    base = name.removeprefix(captions.PREFIX)
    entry = _images(base, name)
    description = f"{entry.description}; with captions"
    return entry._replace(description=description, load=partial(_read_captioned, base))


@no_type_check
def find(name: str) -> DatasetEntry:
    """The entry of a dataset name or of one of PATTERNS. Raises ConfigError for an unknown name."""
    check_text("dataset", name)
    if name in PATTERNS:
        raise ConfigError(f"dataset={name!r} is a pattern: put your own in place of the capitals")
    if name.startswith(images.PREFIX):
        load = partial(_load_tfds, *images.parse(name))
        return DatasetEntry("a set of TensorFlow Datasets", "images", None, load)
    if name.startswith(folder.PREFIX):
        load = partial(folder.read_folder, name)
        return DatasetEntry("your own images", "images", None, load)
    if name.startswith(textures.PREFIX):
        load = partial(textures.read_patches, name)
        return DatasetEntry("patches of your own picture", "images", 0, load)
    if name.startswith(text.PREFIX):
        return _text("your own text", *text.parse(name))
    if name.startswith(binarized.PREFIX):
        return _binarized(name)
    if name.startswith(mutated.PREFIX):
        return _mutated(name)
    if name.startswith(captions.PREFIX):
        return _captioned(name)
    if (pair := pairs.parse(name)) is not None:
        return _pairs(*pair, name)
    if name.startswith(known_densities.PREFIX):
        known_densities.target_of(name)
        load = partial(known_densities.read_target, name)
        return DatasetEntry("exact samples of a known density", "points", 0, load)
    if name not in DATASETS and (kind := _kind_of_path(name)):
        raise ConfigError(f"dataset={name!r} is no name, but there is such a path: {kind}{name}?")
    check_choice("dataset", name, [*DATASETS, *PATTERNS])
    return DATASETS[name]


def _kind_of_path(name: str) -> str | None:
    """The prefix that fits a folder, a picture or a text of this name, if there is one."""
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return folder.PREFIX if name else None
        if not path.is_file():
            return None
    except (OSError, ValueError):
        return None
    return textures.PREFIX if path.suffix.lower() in picture.suffixes() else text.PREFIX


@no_type_check
def load(name: str, split: str = "train") -> dict[str, np.ndarray]:
    """A dataset as read-only arrays in data units: "x" and, when labels exist, "y" int32 [N].

    Images are uint8 [N, H, W, C] in 0..255, points float32 [N, 2], text int32 tokens [N, T].
    Repeated calls decode once.

    Args:
      name: one of DATASETS, or of the forms in PATTERNS.
      split: "train" or "test".
    Raises ConfigError for an unknown name or split, DataError for data that are missing or damaged.
    """
    entry = find(name)
    check_choice("split", split, SPLITS)
    arrays = dict(entry.load(split))
    for values in arrays.values():
        values.setflags(write=False)
    return arrays


@no_type_check
def examples(name: str, split: str, count: int | None = None) -> dict[str, np.ndarray]:
    """`count` examples of a split (at most; all if None), drawn without replacement, always the
    same; `load` has them in the order of the data. Raises as `load`.
    """
    return subset(load(name, split), count, SPLITS.index(split))


def _image_moments(x: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of 2 x / 255 - 1, exactly, from counts of the 256 values."""
    chunks = (x[i : i + 1024].ravel() for i in range(0, len(x), 1024))
    counts = sum(np.bincount(chunk, minlength=256) for chunk in chunks)
    values = 2 * np.arange(256) / 255 - 1
    mean = float(np.average(values, weights=counts))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))


def _point_moments(x: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    wide = x.astype(np.float64)
    return tuple(wide.mean(0).tolist()), tuple(wide.std(0).tolist())


@no_type_check
def describe(name: str) -> DatasetSpec:
    """The DatasetSpec of a dataset, which is loaded for it (both splits). Raises as `load`.

    A target without an exact sampler has no examples; its mean is given as 0, its deviation as 1.
    """
    check_text("dataset", name)
    if (
        name.startswith(known_densities.PREFIX)
        and (target := known_densities.target_of(name)).sample is None
    ):
        zeros, ones = (0.0,) * target.dim, (1.0,) * target.dim
        return DatasetSpec(name, "points", (target.dim,), "float32", 0, zeros, ones, 0, 0)
    entry, train, test = find(name), load(name, "train"), load(name, "test")
    x, classes = train["x"], entry.num_classes
    if classes is None:
        classes = 1 + max(int(part["y"].max()) for part in (train, test)) if "y" in train else 0
    moments: dict[str, Callable] = {"images": _image_moments, "points": _point_moments}
    mean, std = moments.get(entry.kind, lambda x: (0.0, 1.0))(x)
    counts = len(x), len(test["x"])
    line = entry.vocabulary().to_json() if entry.vocabulary else ""
    shape, dtype = tuple(x.shape[1:]), str(x.dtype)
    return DatasetSpec(name, entry.kind, shape, dtype, classes, mean, std, *counts, line)
