"""Data: sets by name, transforms with their change of density, batches as a function of the step.

`load(name, split)` returns arrays in data units, `examples(name, split, count)` some of them in a
fixed random order, `describe(name)` what a model needs to be made for them,
`batch_indices(key, step, ...)` the examples of a step, `stream(...)` the same batches for data that
do not fit in memory. Reading needs no TensorFlow; only preparing a TFDS set the first time does.
"""

from gen_jax.data import (
    binarized,
    cache,
    captions,
    digest,
    folder,
    images,
    known_densities,
    loader,
    pairs,
    registry,
    shapes,
    text,
    textures,
    toy,
    transforms,
    views,
)
from gen_jax.data.digest import digests
from gen_jax.data.entries import DatasetEntry, DatasetSpec
from gen_jax.data.loader import batch_indices, check_batchable, stream, subset, take
from gen_jax.data.named import DATASETS
from gen_jax.data.prefixes import PATTERNS, PREFIXES
from gen_jax.data.registry import describe, examples, load
from gen_jax.data.sentences import Sentences
from gen_jax.data.text import Vocabulary
from gen_jax.data.toy import TOY
from gen_jax.data.transforms import (
    TRANSFORMS,
    Transform,
    bin_centres,
    binarize,
    chain,
    dequantize,
    identity,
    integers,
    logit,
    standardize,
    symmetric_images,
    to_symmetric,
    to_unit,
)

__all__ = [
    "DATASETS",
    "PATTERNS",
    "PREFIXES",
    "TOY",
    "TRANSFORMS",
    "DatasetEntry",
    "DatasetSpec",
    "Sentences",
    "Transform",
    "Vocabulary",
    "batch_indices",
    "bin_centres",
    "binarize",
    "binarized",
    "cache",
    "captions",
    "chain",
    "check_batchable",
    "dequantize",
    "describe",
    "digest",
    "digests",
    "examples",
    "folder",
    "identity",
    "images",
    "integers",
    "known_densities",
    "load",
    "loader",
    "logit",
    "pairs",
    "registry",
    "shapes",
    "standardize",
    "stream",
    "subset",
    "symmetric_images",
    "take",
    "text",
    "textures",
    "to_symmetric",
    "to_unit",
    "toy",
    "transforms",
    "views",
]
