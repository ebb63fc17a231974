"""Image sets: scikit-learn's digits, and TensorFlow Datasets (TFDS) read without TensorFlow."""

import hashlib
import importlib.util
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import cached
from gen_jax.errors import ConfigError, DataError, check_range
from gen_jax.optional import optional

PREFIX = "tfds:"
CHUNK = 2048
"""Records decoded at once: bounds the memory held beside the result."""


@lru_cache
def read_digits(split: str) -> dict[str, np.ndarray]:
    """The 1,797 digits of scikit-learn, 8 x 8, levels 0..16 scaled to 0..255: no download.

    Two thirds of each class are "train", the rest "test"; the division is fixed.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    y = bunch.target.astype(np.int32)
    held_out = np.zeros(len(y), bool)
    shuffle = np.random.RandomState(0)  # its stream is frozen, unlike default_rng's
    for label in range(10):
        members = shuffle.permutation(np.flatnonzero(y == label))
        held_out[members[: round(len(members) / 3)]] = True
    chosen = held_out if split == "test" else ~held_out
    return {"x": x[chosen], "y": y[chosen]}


@contextmanager
def _quiet() -> Iterator[None]:
    """TFDS and absl report routine facts as warnings; errors still come as exceptions."""
    loggers = [logging.getLogger("absl"), logging.getLogger("tensorflow_datasets")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _tfds() -> Any:
    with _quiet():
        return optional("tensorflow_datasets", "images", "image sets of TensorFlow Datasets")


def tfds_folder() -> Path:
    """Where prepared TFDS sets are: $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(os.path.expanduser(folder)).absolute()  # as it is for a user who has no home


def _prepared(builder: str) -> Path | None:
    """The folder of the newest prepared version of a TFDS set, found without asking TFDS."""
    try:
        found = list((tfds_folder() / builder).glob("*/dataset_info.json"))
    except OSError:  # a place that cannot be read holds nothing for this user
        found = []
    versions = [path.parent for path in found if re.fullmatch(r"\d+(\.\d+)*", path.parent.name)]
    return max(versions, key=lambda p: [int(part) for part in p.name.split(".")], default=None)


def parse(name: str) -> tuple[str, int | None]:
    """Split "tfds:NAME" or "tfds:NAME@SIZE" into NAME and SIZE. Raises ConfigError if malformed."""
    match = re.fullmatch(r"tfds:([a-z0-9_]+(?:/[A-Za-z0-9_-]+)?)(?:@([0-9]{1,4}))?", name)
    if match is None:
        raise ConfigError(f"dataset={name!r} is malformed (expected tfds:NAME or tfds:NAME@SIZE)")
    size = int(match[2]) if match[2] else None
    if size is not None:
        check_range("SIZE in tfds:NAME@SIZE", size, 4, 1024)
    return match[1], size


def _prepare(builder: str) -> Path:
    """Download and prepare a set once; needs TensorFlow and the network."""
    where = f"dataset {builder!r} was not found in {tfds_folder()}"
    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{where}: run `pip install 'gen_jax[prepare]'` once, with network, to download it, "
            "or set TFDS_DATA_DIR to a folder that holds it"
        )
    tfds = _tfds()
    try:
        with _quiet():
            data_dir = str(tfds_folder())
            made = tfds.builder(builder, data_dir=data_dir, file_format="array_record")
            made.download_and_prepare()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{where} and could not be prepared ({reason})") from error
    folder = _prepared(builder)
    if folder is None:
        raise DataError(f"{where} even after it was prepared")
    return folder


def _fit(image: np.ndarray, size: int | None) -> np.ndarray:
    """Cut the centre square out and resize it to `size` (bicubic with antialiasing)."""
    if size is None or image.shape[:2] == (size, size):
        return image
    from PIL import Image, ImageOps

    grey = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if grey else image)
    fitted = np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC))
    return fitted[..., None] if grey else fitted


class ImageSource:
    """A prepared TFDS set by index: `len`, `[i]`, `__getitems__` of `{"x": [H, W, C], "y": []}`.

    Nothing is decoded before it is asked for, so it suits `loader.stream` for sets that do not fit.

    Args:
      builder: TFDS name, with its configuration if it has several ("emnist/balanced").
      split: "train" or "test".
      size: crop the centre square and resize to it; None keeps the images as they are.
      transpose: exchange rows and columns (EMNIST is stored lying on its side).
    Raises DataError if the set is neither prepared nor can be.
    """

    def __init__(self, builder: str, split: str, size: int | None = None, transpose: bool = False):
        self.folder = _prepared(builder) or _prepare(builder)
        self.name, self.split, self.size, self.transpose = builder, split, size, transpose
        tfds = _tfds()
        try:
            with _quiet():
                made = tfds.builder_from_directory(str(self.folder))
                self.records = made.as_data_source(split=split)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"dataset in {self.folder} cannot be read ({reason})") from error
        features = dict(made.info.features.items())
        self.has_labels = isinstance(features.get("label"), tfds.features.ClassLabel)
        if "image" not in features or features["image"].np_dtype != np.uint8:
            raise DataError(f"dataset {builder!r} has no uint8 'image' (it has: {[*features]})")

    def identity(self) -> tuple[str, ...]:
        """What decides the decoded arrays: folder, version, description and options."""
        info = hashlib.sha256((self.folder / "dataset_info.json").read_bytes()).hexdigest()
        return str(self.folder.resolve()), info, self.split, str(self.size), str(self.transpose)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        try:
            with _quiet():
                rows = self.records.__getitems__(indices)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"dataset in {self.folder} cannot be read ({reason})") from error
        return [self._record(row) for row in rows]

    def _record(self, row: dict[str, Any]) -> dict[str, Any]:
        image = _fit(row["image"], self.size)
        record = {"x": image.transpose(1, 0, 2) if self.transpose else image}
        return record | {"y": np.int32(row["label"])} if self.has_labels else record

    def decode(self) -> dict[str, np.ndarray]:
        """Every record as arrays "x" uint8 [N, H, W, C] and, with labels, "y" int32 [N]."""
        x, y = None, np.empty(len(self), np.int32)
        for start in range(0, len(self), CHUNK):
            rows = self.__getitems__(range(start, min(start + CHUNK, len(self))))
            shapes = {row["x"].shape for row in rows} | ({x.shape[1:]} if x is not None else set())
            if len(shapes) > 1:
                raise DataError(f"dataset {self.name!r} has images of several sizes: {shapes}")
            x = np.empty((len(self), *shapes.pop()), np.uint8) if x is None else x
            x[start : start + len(rows)] = [row["x"] for row in rows]
            if self.has_labels:
                y[start : start + len(rows)] = [row["y"] for row in rows]
        if x is None:
            raise DataError(f"dataset {self.name!r} has no examples in split {self.split!r}")
        return {"x": x, "y": y} if self.has_labels else {"x": x}


@lru_cache
def _read_tfds(name: str, split: str, size, transpose: bool, folder: Path) -> dict[str, np.ndarray]:
    source = ImageSource(name, split, size, transpose)

    def valid(arrays):
        names = {"x", "y"} if source.has_labels else {"x"}
        whole = arrays.keys() == names and all(len(v) == len(source) for v in arrays.values())
        return whole and arrays["x"].dtype == np.uint8 and arrays["x"].ndim == 4

    return cached(name, source.identity(), source.decode, valid)


def read_tfds(
    builder: str, split: str, size: int | None = None, transpose: bool = False
) -> dict[str, np.ndarray]:
    """A TFDS image set in memory, decoded once and cached on disk; arguments as for ImageSource."""
    return _read_tfds(builder, split, size, transpose, tfds_folder())
