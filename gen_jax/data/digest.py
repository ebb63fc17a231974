"""What identifies a set of data: a word for each of its arrays."""

import hashlib

import numpy as np

from gen_jax.checks import as_array, no_type_check
from gen_jax.data import registry


@no_type_check
def digest(array: np.ndarray) -> str:
    """Dtype, shape and the SHA-256 of an array's content, in one word."""
    array = np.asarray(as_array("array", array, finite=False))
    shape = "x".join(map(str, array.shape))
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{array.dtype}[{shape}]-{hashlib.sha256(content.data).hexdigest()[:16]}"


@no_type_check
def digests(name: str) -> dict[str, str]:
    """`digest` of every array of both splits of a dataset: "train_x", "test_x", ...

    Nothing of points: they are computed, and the last bits of one device are not those of another.
    Raises as `registry.load`.
    """
    if registry.find(name).kind == "points":
        return {}
    return {
        f"{split}_{part}": digest(values)
        for split in registry.SPLITS
        for part, values in registry.load(name, split).items()
    }
