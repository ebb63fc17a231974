"""The datasets that have names of their own."""

import hashlib
from functools import lru_cache, partial

import jax
import numpy as np

from gen_jax.data import images, shapes, text, textures, toy
from gen_jax.data.entries import DatasetEntry
from gen_jax.types import Array, Float, Key

TOY_COUNTS = {"train": 20_000, "test": 10_000}


@partial(jax.jit, static_argnums=0)
def _draw(name: str, key: Key[Array, ""]) -> Float[Array, "N 2"]:
    return toy.TOY[name](key, max(TOY_COUNTS.values()))


@lru_cache
def _points(name: str, split: str) -> dict[str, np.ndarray]:
    seed = int.from_bytes(hashlib.sha256(f"{name}/{split}".encode()).digest()[:4], "big") >> 1
    with jax.enable_x64(False):  # the points must not depend on that setting
        x = _draw(name, jax.random.key(seed))
    return {"x": np.asarray(x)[: TOY_COUNTS[split]]}


def _tfds(
    description: str,
    builder: str,
    num_classes: int,
    size: int | None = None,
    transpose: bool = False,
) -> DatasetEntry:
    load = lambda split: images.read_tfds(builder, split, size, transpose)
    return DatasetEntry(description, "images", num_classes, load)


def text_entry(description: str, path: str, size: int | None) -> DatasetEntry:
    """The entry of a text file, by characters or by `size` byte pairs."""
    load = partial(text.read_windows, path, size)
    return DatasetEntry(description, "text", 0, load, partial(text.vocabulary_of, path, size))


def shapes_entry(side: int) -> DatasetEntry:
    """The entry of scenes on side x side pixels."""
    line = f"two shapes and a sentence about them, {side}x{side} colour, drawn"
    load = partial(shapes.read_shapes, side)
    return DatasetEntry(line, "images", 0, load, lambda: shapes.SENTENCES)


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
    "shapes": shapes_entry(shapes.SIDE),
    "genesis": text_entry(
        "the book of Genesis (King James), 197 kB, by characters", str(text.GENESIS), None
    ),
    "genesis_pairs": text_entry(
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
"""Datasets by name; `load` also takes the forms in `prefixes.PATTERNS`."""
