"""Wrong calls of the functions of `data`."""

import numpy as np

from gen_jax import data
from wrong_calls.common import BAD, IMAGE, KEY, NAN, WORDS, X, at

CALLS = {
    "load": [("dataset", at(data.load, n)) for n in (None, 3, ["digits"], "digitz")]
    + [("split", at(data.load, "digits", s)) for s in (None, "valid", 0)],
    "describe": [("dataset", at(data.describe, n)) for n in (None, 3, "digitz")],
    "batch_indices": [
        ("key", at(data.batch_indices, 0, 0, 10, 2)),
        ("step", at(data.batch_indices, KEY, -1, 10, 2)),
        ("step", at(data.batch_indices, KEY, 1.5, 10, 2)),
        ("num_examples", at(data.batch_indices, KEY, 0, 0, 2)),
        ("batch_size", at(data.batch_indices, KEY, 0, 10, 2.0)),
    ],
    "take": [
        ("data", at(data.take, X, [0])),
        ("indices", at(data.take, {"x": X}, [12])),
        ("indices", at(data.take, {"x": X}, [-1])),
        ("indices", at(data.take, {"x": X}, [0.5])),
        ("indices", at(data.take, {"x": X}, None)),
    ],
    "examples": [
        ("dataset", at(data.examples, None, "train")),
        ("split", at(data.examples, "digits", None)),
        ("count", at(data.examples, "digits", "train", -1)),
        ("count", at(data.examples, "digits", "train", 0)),
    ],
    "digests": [("dataset", at(data.digests, n)) for n in (None, 3, "digitz")],
    "subset": [
        ("data", at(data.subset, X, 2)),
        ("data", at(data.subset, {"y": X}, 2)),
        ("data", at(data.subset, {"x": 3}, 1)),
        ("data", at(data.subset, {"x": X, "y": np.arange(2)}, 1)),
        ("count", at(data.subset, {"x": X}, -1)),
        ("count", at(data.subset, {"x": X}, 0)),
        ("count", at(data.subset, {"x": X}, 2.0)),
        ("seed", at(data.subset, {"x": X}, 2, -1)),
        ("seed", at(data.subset, {"x": X}, 2, "a")),
    ],
    "check_batchable": [
        ("data", at(data.check_batchable, X, 2)),
        ("data", at(data.check_batchable, {"x": BAD}, 2)),
        ("batch_size", at(data.check_batchable, {"x": X}, 2.0)),
        ("labels", at(data.check_batchable, {"x": X, "y": np.arange(1, 13)}, 2, 12)),
        ("num_classes", at(data.check_batchable, {"x": X, "y": np.arange(12)}, 2, "12")),
    ],
    "stream": [
        ("source", at(data.stream, None, 0, 2)),
        ("source", at(data.stream, {"x": WORDS}, 0, 2)),
        ("seed", at(data.stream, {"x": X}, KEY, 2)),
        ("seed", at(data.stream, {"x": X}, -1, 2)),
        ("batch_size", at(data.stream, {"x": X}, 0, 2.0)),
        ("start_step", at(data.stream, {"x": X}, 0, 2, -1)),
        ("num_threads", at(data.stream, {"x": X}, 0, 2, num_threads=-1)),
        ("prefetch", at(data.stream, {"x": X}, 0, 2, prefetch=0)),
    ],
    "binarize": [
        ("threshold", at(data.binarize, threshold=2)),
        ("stochastic", at(data.binarize, 3)),
    ],
    "dequantize": [("levels", at(data.dequantize, n)) for n in (1, 2.0, "256", 257)],
    "bin_centres": [("levels", at(data.bin_centres, n)) for n in (1, None)],
    "integers": [("levels", at(data.integers, n)) for n in (1, None)],
    "logit": [("alpha", at(data.logit, a)) for a in (0, 0.5, NAN, "a")],
    "standardize": [
        ("mean", at(data.standardize, "a", 1.0)),
        ("std", at(data.standardize, 0.0, 0.0)),
        ("std", at(data.standardize, 0.0, NAN)),
        ("mean", at(data.standardize, None, 1.0)),
    ],
    "chain": [("transforms[1]", at(data.chain, data.identity(), 3))],
    "captions.sentence": [
        ("digit", at(data.captions.sentence, 10, 0, 0)),
        ("thick", at(data.captions.sentence, 1, -1, 0)),
        ("black", at(data.captions.sentence, 1, 0, "a")),
        ("template", at(data.captions.sentence, 1, 0, 0, 99)),
    ],
    "captions.encode": [("text", at(data.captions.encode, text)) for text in (None, 3)]
    + [("caption", at(data.captions.encode, text)) for text in ("a zebra", "a " * 99)],
    "captions.decode": [
        ("tokens", at(data.captions.decode, t)) for t in (None, "abc", [999], [-5], [0.5], [[1]])
    ],
    "captions.prompts": [("every", at(data.captions.prompts, every)) for every in (3, "no")],
    "shapes.scenes": [
        ("count", at(data.shapes.scenes, 0)),
        ("seed", at(data.shapes.scenes, 3, -1)),
        ("held_out", at(data.shapes.scenes, 3, held_out="no")),
    ],
    "shapes.sentence": [
        ("scene", at(data.shapes.sentence, row)) for row in (None, [9] * 7, [0, 1], 3, [0.5] * 7)
    ],
    "shapes.tokens": [("rows", at(data.shapes.tokens, rows)) for rows in (None, [[9] * 7], [0])],
    "shapes.canonical": [
        ("rows", at(data.shapes.canonical, rows)) for rows in (None, [[-1] * 7], [0])
    ],
    "shapes.render": [
        ("rows", at(data.shapes.render, [[0] * 6])),
        ("side", at(data.shapes.render, [[0] * 7], 4)),
        ("seed", at(data.shapes.render, [[0] * 7], 16, "a")),
    ],
    "shapes.attributes": [
        ("images", at(data.shapes.attributes, x)) for x in (None, IMAGE, np.zeros((2, 8, 9, 3)))
    ],
    "views.random_view": [
        ("key", at(data.views.random_view, 0, IMAGE, 1.0, 1.0, 0.1)),
        ("x", at(data.views.random_view, KEY, None, 1.0, 1.0, 0.1)),
        ("x", at(data.views.random_view, KEY, IMAGE[0], 1.0, 1.0, 0.1)),
        ("degrees", at(data.views.random_view, KEY, IMAGE, NAN, 1.0, 0.1)),
        ("shift", at(data.views.random_view, KEY, IMAGE, 1.0, -1.0, 0.1)),
        ("shift", at(data.views.random_view, KEY, IMAGE, 1.0, float("inf"), 0.1)),
        ("contrast", at(data.views.random_view, KEY, IMAGE, 1.0, 1.0, 2)),
    ],
    "views.turned": [
        ("x", at(data.views.turned, IMAGE[0], 0.1, [0.0, 0.0])),
        ("angle", at(data.views.turned, IMAGE, "a", [0.0, 0.0])),
        ("shift", at(data.views.turned, IMAGE, 0.1, [0.0, 0.0, 0.0])),
    ],
    "known_densities.target_of": [
        ("dataset", at(data.known_densities.target_of, n)) for n in (None, 3, "target:x")
    ],
    "registry.find": [("dataset", at(data.registry.find, n)) for n in (None, 3, "digitz")],
    "text.characters": [("text", at(data.text.characters, text)) for text in (None, 3, "")],
    "text.byte_pairs": [("text", at(data.text.byte_pairs, text, 300)) for text in (None, 3, "")]
    + [("size", at(data.text.byte_pairs, "abc", n)) for n in (0, 10**9, None, 300.0)],
    "text.prompt_tokens": [
        ("vocabulary", at(data.text.prompt_tokens, None, "a", 5)),
        ("prompt", at(data.text.prompt_tokens, data.Vocabulary("characters", "ab"), None, 5)),
        ("context", at(data.text.prompt_tokens, data.Vocabulary("characters", "ab"), "a", 0)),
    ],
    "digest.digest": [("array", at(data.digest.digest, x)) for x in (None, "a", [[1], [1, 2]])],
}
