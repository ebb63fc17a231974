"""What the registry holds of a dataset, and what a run keeps of it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from gen_jax.conditions import Labels, labels
from gen_jax.data.sentences import Sentences
from gen_jax.data.text import Vocabulary
from gen_jax.errors import DataError

SPLITS = ("train", "test")


class DatasetEntry(NamedTuple):
    """One dataset.

    Fields:
      description: one line.
      kind: "points", "images" or "text".
      num_classes: number of labels, 0 without labels, None when it must be read from the data.
      load: `split -> {"x": ..., "y": ...}`.
      vocabulary: of text, `() -> Vocabulary`; of images with captions, `() -> Sentences`.
      dim: of points without examples, those of a density that has no exact sampler.
    """

    description: str
    kind: str
    num_classes: int | None
    load: Callable[[str], dict[str, np.ndarray]]
    vocabulary: Callable[[], Vocabulary | Sentences] | None = None
    dim: int | None = None


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
      vocabulary: of text, what `Vocabulary.from_json` reads; of images with captions, what
        `Sentences.from_json` reads; else empty.
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

    @property
    def sentences(self) -> Sentences | None:
        """Of images with captions."""
        captioned = self.kind == "images" and self.vocabulary
        return Sentences.from_json(self.vocabulary) if captioned else None

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
