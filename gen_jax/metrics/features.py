"""What images are compared by: pixels, or the hidden layer of a small classifier of the same data.

Distances between features are comparable only under the same weights; so every classifier carries
the hash of its weight file, and `label` is what to print beside each number.
"""

import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from flax.errors import FlaxError

from gen_jax.batching import as_rows, in_batches
from gen_jax.checks import check_path, no_type_check
from gen_jax.errors import CheckpointError, ConfigError, check_choice, check_text, shown
from gen_jax.nets.classifier import Classifier
from gen_jax.types import Array, Float, Int, UInt8
from gen_jax.writing import replacing

WEIGHTS = Path(__file__).parent / "weights"
ARCHITECTURES = {"Classifier": Classifier}
BATCH_SIZE = 256
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    FlaxError,
)
"""What reading a broken or foreign weight file raises."""


class PixelFeatures(NamedTuple):
    """Pixels themselves, scaled to [0, 1] and flattened."""

    dataset: str = ""

    @property
    def label(self) -> str:
        """To print beside a number."""
        return "pixels"

    def features(self, images: UInt8[Array | np.ndarray, "N H W C"]) -> Float[np.ndarray, "N D"]:
        """[N, H W C] in float32."""
        images = np.asarray(images)
        return as_rows(images).astype(np.float32) / 255


class ClassifierFeatures(NamedTuple):
    """A trained classifier: its hidden layer, its classes, and where they come from.

    Fields:
      dataset: what it was trained on.
      sha256: first 12 hexadecimal digits of the hash of its weight file.
      accuracy: share of the test set it classifies correctly.
      image_shape: [H, W, C] it accepts; resized inside to those that it was trained on.
      forward: x [B, H, W, C] in [-1, 1] -> (logits [B, K], features [B, F]), compiled.
      metadata: everything stored beside the weights.
      maps: x -> the feature maps [B, h, w, F] after each level, from fine to coarse.
    """

    dataset: str
    sha256: str
    accuracy: float
    image_shape: tuple[int, ...]
    forward: Callable
    metadata: dict[str, Any]
    maps: Callable

    @property
    def label(self) -> str:
        """To print beside a number."""
        own = tuple(self.metadata["image_shape"])
        sizes = "" if own == self.image_shape else f" at {own[0]} x {own[1]}"
        return f"classifier {self.dataset} {self.sha256} (accuracy {self.accuracy:.4f}{sizes})"

    def _run(self, images) -> tuple[np.ndarray, np.ndarray]:
        """(logits [N, K], features [N, F]) in batches of one shape."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape or len(images) == 0:
            raise ConfigError(
                f"images are {images.dtype} {images.shape}; the {self.dataset} classifier takes "
                f"uint8 {('N', *self.image_shape)}"
            )
        run = lambda batch: self.forward(batch.astype(np.float32) / 127.5 - 1)
        return in_batches(run, BATCH_SIZE, images)

    def features(self, images: UInt8[Array | np.ndarray, "N H W C"]) -> Float[np.ndarray, "N F"]:
        """The hidden layer of each image."""
        return self._run(images)[1]

    def logits(self, images: UInt8[Array | np.ndarray, "N H W C"]) -> Float[np.ndarray, "N K"]:
        """Unnormalised log-probabilities of the classes."""
        return self._run(images)[0]

    def probabilities(
        self, images: UInt8[Array | np.ndarray, "N H W C"]
    ) -> Float[np.ndarray, "N K"]:
        """Class probabilities, for `inception_score`."""
        return np.asarray(jax.nn.softmax(self.logits(images), axis=1))

    def predict(self, images: UInt8[Array | np.ndarray, "N H W C"]) -> Int[np.ndarray, "N"]:
        """The most likely class of each image."""
        return self.logits(images).argmax(1)


@no_type_check
def save_classifier(
    path: str | os.PathLike,
    variables: Mapping[str, Any],
    metadata: Mapping[str, Any],
    dtype: str = "float16",
) -> str:
    """Write weights and their description as one npz without pickles; returns its short hash.

    Args:
      variables: of the network, {"params": ...}.
      metadata: JSON values; "architecture" (a name in ARCHITECTURES), "arguments" (its keyword
        arguments), "dataset", "image_shape" and "accuracy" are needed, others are kept.
      dtype: of the stored weights; they are float32 again when loaded. Measure the accuracy of what
        was stored.
    The same weights give the same bytes. The file appears whole or not at all.
    """
    check_choice("dtype", dtype, ("float16", "float32"))
    check_path("path", path)
    for name, value in (("variables", variables), ("metadata", metadata)):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}={shown(value)} must be a mapping")
    missing = {"architecture", "arguments", "dataset", "image_shape", "accuracy"} - set(metadata)
    if missing:
        raise ConfigError(f"metadata lacks {sorted(missing)}")
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    arrays: dict[str, Any]
    with np.errstate(over="ignore"):
        arrays = {name: np.asarray(value, dtype) for name, value in flat.items()}
    if not all(np.isfinite(value).all() for value in arrays.values()):
        raise ConfigError(f"variables hold values that are not finite in {dtype}")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, metadata=np.array(json.dumps(dict(metadata))), **arrays)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write_bytes(buffer.getvalue())
    return _short_hash(buffer.getvalue())


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@no_type_check
def load_classifier(
    dataset_name: str, directory: str | os.PathLike | None = None
) -> ClassifierFeatures:
    """The classifier trained on a dataset, from `gen_jax/metrics/weights` or another directory.

    That of `tfds:NAME@SIZE` is NAME's, behind a bicubic resizing from SIZE x SIZE to its own size;
    its accuracy is the one without. Raises ConfigError when there is none for this dataset,
    CheckpointError when its file is damaged.
    """
    check_text("dataset_name", dataset_name)
    if directory is not None:
        check_path("directory", directory)
    scaled = re.fullmatch(r"tfds:(\w+)(?:@(\d+))?", dataset_name)
    base, side = scaled.groups() if scaled else (dataset_name, None)
    path = Path(WEIGHTS if directory is None else directory) / f"{base}.npz"
    if not re.fullmatch(r"[\w.-]+", base) or not path.is_file():
        raise ConfigError(
            f"no classifier weights for dataset {dataset_name!r}; make them with: "
            f"python -m experiments.classifier --dataset {base}"
        )
    data = path.read_bytes()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            metadata = json.loads(str(stored["metadata"]))
            arrays = {k: stored[k].astype(np.float32) for k in stored.files if k != "metadata"}
        network = ARCHITECTURES[metadata["architecture"]](**_tuples(metadata["arguments"]))
        own, accuracy = tuple(metadata["image_shape"]), float(metadata["accuracy"])
        shape = own if side is None else (int(side), int(side), own[-1])
        variables = traverse_util.unflatten_dict(arrays, sep="/")
        sized = lambda x: x if shape == own else jax.image.resize(x, (len(x), *own), "cubic")
        forward = jax.jit(lambda x: network.apply(variables, sized(x)))
        kept = lambda x: network.apply(variables, sized(x), mutable=["intermediates"])[1]
        maps = lambda x: kept(x)["intermediates"]["maps"]
        jax.eval_shape(forward, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    except DAMAGE as error:
        raise CheckpointError(f"the classifier weights {path} are damaged: {error}") from error
    return ClassifierFeatures(
        metadata["dataset"], _short_hash(data), accuracy, shape, forward, metadata, maps
    )


def _tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments as they were before JSON made lists of tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}


FEATURES: dict[str, Callable[[str], PixelFeatures | ClassifierFeatures]] = {
    "pixels": PixelFeatures,
    "classifier": load_classifier,
}
"""Feature extractors by name: `FEATURES[name](dataset)` offers `features(images)` and `label`."""
