"""Datasets by name: what there is, the arrays, and what a model needs to be made for them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.data import folder, picture, text, textures
from gen_jax.data.entries import SPLITS, DatasetEntry, DatasetSpec
from gen_jax.data.loader import subset
from gen_jax.data.named import DATASETS
from gen_jax.data.prefixes import PATTERNS, PREFIXES
from gen_jax.errors import ConfigError, check_choice, check_range, check_text


@no_type_check
def find(name: str) -> DatasetEntry:
    """The entry of a dataset name or of one of PATTERNS. Raises ConfigError for an unknown name."""
    check_text("dataset", name)
    if name in PATTERNS:
        raise ConfigError(f"dataset={name!r} is a pattern: put your own in place of the capitals")
    prefix, colon, _ = name.partition(":")
    if prefix + colon in PREFIXES:
        return PREFIXES[prefix + colon].entry(name)
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

    >>> from gen_jax import data
    >>> digits = data.load("digits", "train")
    >>> digits["x"].shape, digits["x"].dtype.name, digits["y"].shape
    ((1198, 8, 8, 1), 'uint8', (1198,))
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
    found = load(name, split)
    if count is not None:
        check_range("count", count, 1, integer=True)
        count = min(count, len(found["x"]))
    return subset(found, count, SPLITS.index(split))


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

    >>> from gen_jax import data
    >>> spec = data.describe("digits")
    >>> spec.kind, spec.shape, spec.num_classes
    ('images', (8, 8, 1), 10)
    """
    entry = find(name)
    if (dim := entry.dim) is not None:
        return DatasetSpec(name, "points", (dim,), "float32", 0, (0.0,) * dim, (1.0,) * dim, 0, 0)
    train, test = load(name, "train"), load(name, "test")
    x, classes = train["x"], entry.num_classes
    if classes is None:
        classes = 1 + max(int(part["y"].max()) for part in (train, test)) if "y" in train else 0
    moments: dict[str, Callable] = {"images": _image_moments, "points": _point_moments}
    mean, std = moments.get(entry.kind, lambda x: (0.0, 1.0))(x)
    counts = len(x), len(test["x"])
    line = entry.vocabulary().to_json() if entry.vocabulary else ""
    shape, dtype = tuple(x.shape[1:]), str(x.dtype)
    return DatasetSpec(name, entry.kind, shape, dtype, classes, mean, std, *counts, line)
