"""Wrong calls of the functions of `training`, `data` and `metrics`, for test_api_mistakes.py."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import data, metrics, sampling, training

KEY, NAN = jax.random.key(0), float("nan")
X = np.random.default_rng(0).normal(size=(12, 3))
BAD = np.full((12, 3), NAN)
WORDS = np.array([["a", "b"]] * 12)
MASKED = np.ma.masked_less(X, 0)
KEYS = jax.random.split(KEY, 3)
MEAN, COV = np.zeros(3), np.eye(3)
MESH = training.make_mesh(1)
IMAGE = np.zeros((8, 8, 1), np.float32)
RING = sampling.make_target("ring")


def at(function, *places, **named):
    """A call, to be made later."""
    return lambda: function(*places, **named)


SETS = ("a", "b")
POINT_SETS = {
    name: [
        (argument, at(function, *(value if which == argument else X for which in names)))
        for argument in names
        for value in (BAD, WORDS, X[:1], None, 3.0, MASKED)
    ]
    + [(names[1], at(function, X, X[:, :2]))]
    for name, function, names in (
        ("frechet_from_features", metrics.frechet_from_features, SETS),
        ("kernel_distance", metrics.kernel_distance, SETS),
        ("kernel_distance_blocks", metrics.kernel_distance_blocks, SETS),
        ("mmd", metrics.mmd, SETS),
        ("energy_distance", metrics.energy_distance, SETS),
        ("precision_recall", metrics.precision_recall, ("real", "fake")),
        ("density_coverage", metrics.density_coverage, ("real", "fake")),
    )
}
OPTIONS = {
    "kernel_distance": {"degree": (0, 1.5, "a", None)},
    "kernel_distance_blocks": {"degree": (0, 1.5), "block_size": (0, 1, 1.5, None)},
    "mmd": {"bandwidths": ((), (0,), (NAN,), "a"), "unbiased": ("yes", 2)},
    "energy_distance": {"unbiased": ("yes", 2)},
    "precision_recall": {"k": (0, 1.5, "a", 12)},
    "density_coverage": {"k": (0, 1.5, "a", 12)},
}
for name, options in OPTIONS.items():
    function = getattr(metrics, name)
    more = {"block_size": 4} if name == "kernel_distance_blocks" else {}
    POINT_SETS[name] += [
        (option, at(function, X, X, **{**more, option: value}))
        for option, values in options.items()
        for value in values
    ]
SETS_OF = ("generated", "real", "test")
PICTURES, ANSWERS = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 2, 0])
LABELLED = {
    "key": KEY,
    **{f"{n}_{w}": v for n in SETS_OF for w, v in (("x", PICTURES), ("y", ANSWERS))},
    "num_classes": 3,
    "steps": 1,
    "network": None,
}
BAD_PAIRS = [("a", (BAD, X)), ("a", (X[:3], X)), ("b", (X, WORDS)), ("b", (X, X[:, :2]))]
PROBABILITIES = np.full((12, 3), 1 / 3)
METADATA = {
    "architecture": "Classifier",
    "arguments": {},
    "dataset": "d",
    "image_shape": [8, 8, 1],
    "accuracy": 1.0,
}
CALLS = {
    **POINT_SETS,
    "frechet_distance": [
        ("mean_a", at(metrics.frechet_distance, BAD[0], COV, MEAN, COV)),
        ("cov_b", at(metrics.frechet_distance, MEAN, COV, MEAN, BAD[:3])),
        ("cov_a", at(metrics.frechet_distance, MEAN, "cov", MEAN, COV)),
        ("mean_b", at(metrics.frechet_distance, MEAN, COV, BAD[0], COV)),
        ("shapes", at(metrics.frechet_distance, MEAN, MEAN, MEAN, COV)),
    ],
    "moments": [("features", at(metrics.moments, x)) for x in (BAD, WORDS, X[:1], None)],
    "inception_score": [
        ("probabilities", at(metrics.inception_score, p))
        for p in (BAD, WORDS, X, None, PROBABILITIES[0])
    ]
    + [("splits", at(metrics.inception_score, PROBABILITIES, s)) for s in (0, 2.0, 13)],
    "nearest_neighbour_distances": [
        ("samples", at(metrics.nearest_neighbour_distances, BAD, X)),
        ("training", at(metrics.nearest_neighbour_distances, X, WORDS)),
        ("training", at(metrics.nearest_neighbour_distances, X, X[:, :1])),
    ],
    "memorisation_ratio": [
        ("samples", at(metrics.memorisation_ratio, BAD, X, X + 1)),
        ("heldout", at(metrics.memorisation_ratio, X, X, BAD)),
        ("training", at(metrics.memorisation_ratio, X, BAD, X)),
        ("training", at(metrics.memorisation_ratio, X, None, X)),
        ("heldout", at(metrics.memorisation_ratio, X, X, X)),
    ],
    "authenticity": [
        ("samples", at(metrics.authenticity, BAD, X)),
        ("samples", at(metrics.authenticity, None, X)),
        ("training", at(metrics.authenticity, X, WORDS)),
        ("training", at(metrics.authenticity, X, X[:1])),
        ("training", at(metrics.authenticity, X, X[:, :1])),
    ],
    "novelty_report": [
        ("samples", at(metrics.novelty_report, BAD, X, X + 1)),
        ("training", at(metrics.novelty_report, X, X[:1], X)),
        ("heldout", at(metrics.novelty_report, X, X, BAD)),
        ("heldout", at(metrics.novelty_report, X, X, X)),
    ],
    "binomial_tail": [("successes", at(metrics.binomial_tail, k, 3)) for k in (-1, 4, 1.5, None)]
    + [("trials", at(metrics.binomial_tail, 0, n)) for n in (0, 1.5, "a")]
    + [("rate", at(metrics.binomial_tail, 1, 3, p)) for p in (-0.1, 1.1, NAN, "a")],
    "proportion_interval": [
        ("successes", at(metrics.proportion_interval, 4, 3)),
        ("trials", at(metrics.proportion_interval, 0, 0)),
        ("confidence", at(metrics.proportion_interval, 1, 3, 1.0)),
        ("confidence", at(metrics.proportion_interval, 1, 3, NAN)),
        ("method", at(metrics.proportion_interval, 1, 3, 0.9, "normal")),
    ],
    "classifier_two_sample": [
        ("key", at(metrics.classifier_two_sample, 0, X, X)),
        *((n, at(metrics.classifier_two_sample, KEY, *pair)) for n, pair in BAD_PAIRS),
        ("hidden", at(metrics.classifier_two_sample, KEY, X, X, hidden=0)),
        ("steps", at(metrics.classifier_two_sample, KEY, X, X, steps=1.5)),
    ],
    "downstream_accuracy": [
        (argument, at(metrics.downstream_accuracy, *{**LABELLED, argument: wrong}.values()))
        for argument, wrong in (
            ("key", 0),
            ("generated_x", X),
            ("generated_x", np.zeros((4, 9, 8, 1), np.uint8)),
            ("generated_y", np.array([0, 1, 2, 3])),
            ("real_x", None),
            ("real_y", np.zeros(3, int)),
            ("test_x", BAD),
            ("test_y", np.full(4, 0.5)),
            ("num_classes", 1),
            ("steps", 0),
            ("network", 3),
        )
    ],
    "prd_curve": [
        ("p", at(metrics.prd_curve, [-1.0, 2.0], [1.0, 1.0])),
        ("p", at(metrics.prd_curve, [0.0, 0.0], [1.0, 1.0])),
        ("q", at(metrics.prd_curve, [1.0, 2.0], [1.0, NAN])),
        ("q", at(metrics.prd_curve, [1.0, 2.0], [1.0])),
        ("num_angles", at(metrics.prd_curve, [1.0], [1.0], 1)),
    ],
    "precision_recall_curve": [
        ("key", at(metrics.precision_recall_curve, 0, X, X)),
        ("real", at(metrics.precision_recall_curve, KEY, BAD, X)),
        ("fake", at(metrics.precision_recall_curve, KEY, X, X[:, :2])),
        ("clusters", at(metrics.precision_recall_curve, KEY, X, X, clusters=1)),
        ("clusters", at(metrics.precision_recall_curve, KEY, X, X, clusters=25)),
        ("repeats", at(metrics.precision_recall_curve, KEY, X, X, repeats=0)),
    ],
    "mode_weights": [
        ("samples", at(metrics.mode_weights, BAD, X)),
        ("means", at(metrics.mode_weights, X, None)),
    ],
    "compare_with_exact": [
        ("key", at(metrics.compare_with_exact, 0, RING, X[:, :2])),
        ("target", at(metrics.compare_with_exact, KEY, None, X[:, :2])),
        ("samples", at(metrics.compare_with_exact, KEY, RING, BAD[:, :2])),
        ("samples", at(metrics.compare_with_exact, KEY, RING, X)),
        ("samples", at(metrics.compare_with_exact, KEY, RING, WORDS)),
        ("log_normalizer", at(metrics.compare_with_exact, KEY, RING, X[:, :2], 1.0)),
    ],
    "mode_report": [
        ("samples", at(metrics.mode_report, BAD, X, 0.1)),
        ("means", at(metrics.mode_report, X, 3, 0.1)),
        ("std", at(metrics.mode_report, X, X, 0.0)),
        ("std", at(metrics.mode_report, X, X, NAN)),
        ("num_stds", at(metrics.mode_report, X, X, 0.1, num_stds=NAN)),
        ("weights", at(metrics.mode_report, X, X, 0.1, [1.0])),
        ("weights", at(metrics.mode_report, X, X, 0.1, [NAN] * 12)),
        ("min_share", at(metrics.mode_report, X, X, 0.1, min_share=2)),
    ],
    "auroc": [
        ("inside", at(metrics.auroc, [NAN, 1.0], [1.0, 2.0])),
        ("outside", at(metrics.auroc, [1.0, 2.0], [1.0])),
        ("inside", at(metrics.auroc, 3.0, [1.0, 2.0])),
        ("outside", at(metrics.auroc, [1.0, 2.0], ["a", "b"])),
    ],
    "png_nats": [("x", at(metrics.png_nats, x)) for x in (None, WORDS, X, IMAGE[None], IMAGE)],
    "likelihood_scores": [
        ("log_prob", at(metrics.likelihood_scores, None, 1.0)),
        ("log_prob", at(metrics.likelihood_scores, X, 1.0)),
        ("mean", at(metrics.likelihood_scores, X[0], NAN)),
        ("mean", at(metrics.likelihood_scores, X[0], "a")),
        ("background", at(metrics.likelihood_scores, X[0], 1.0, WORDS)),
        ("x", at(metrics.likelihood_scores, X[0], 1.0, None, X)),
    ],
    "classifier_scores": [
        ("logits", at(metrics.classifier_scores, x)) for x in (None, WORDS, X[0])
    ],
    "bits_per_dim": [
        ("log_prob", at(metrics.bits_per_dim, NAN, 2)),
        ("log_prob", at(metrics.bits_per_dim, "a", 2)),
        ("log_prob", at(metrics.bits_per_dim, jnp.array([NAN]), 2)),
        ("num_dims", at(metrics.bits_per_dim, 1.0, 0)),
        ("num_dims", at(metrics.bits_per_dim, 1.0, 2.5)),
    ],
    "mean_and_error": [
        ("values", at(metrics.mean_and_error, v)) for v in ([NAN, 1.0], [1.0], 3.0, ["a", "b"], X)
    ],
    "bootstrap": [
        ("key", at(metrics.bootstrap, 0, np.mean, X)),
        ("statistic", at(metrics.bootstrap, KEY, "mean", X)),
        ("samples", at(metrics.bootstrap, KEY, np.mean)),
        ("samples", at(metrics.bootstrap, KEY, np.mean, 3.0)),
        ("samples", at(metrics.bootstrap, KEY, np.mean, BAD)),
        ("num_resamples", at(metrics.bootstrap, KEY, np.mean, X, num_resamples=1)),
        ("replace", at(metrics.bootstrap, KEY, np.mean, X, replace="no")),
    ],
    "calibrate": [
        ("key", at(metrics.calibrate, KEYS, metrics.mmd, X)),
        ("statistic", at(metrics.calibrate, KEY, None, X)),
        ("real", at(metrics.calibrate, KEY, metrics.mmd, 3.0)),
        ("real", at(metrics.calibrate, KEY, metrics.mmd, BAD)),
        ("size", at(metrics.calibrate, KEY, metrics.mmd, X, 7)),
        ("num_repeats", at(metrics.calibrate, KEY, metrics.mmd, X, num_repeats=0)),
    ],
    "sliced_wasserstein": [
        ("key", at(metrics.sliced_wasserstein, 0, X, X)),
        ("a", at(metrics.sliced_wasserstein, KEY, BAD, X)),
        ("b", at(metrics.sliced_wasserstein, KEY, X, WORDS)),
        ("num_projections", at(metrics.sliced_wasserstein, KEY, X, X, 0)),
        ("p", at(metrics.sliced_wasserstein, KEY, X, X, 4, 0.5)),
    ],
    "wasserstein_1d": [
        ("a", at(metrics.wasserstein_1d, BAD[0], X[0])),
        ("b", at(metrics.wasserstein_1d, X[0], X)),
        ("p", at(metrics.wasserstein_1d, X[0], X[0], NAN)),
        ("weights_a", at(metrics.wasserstein_1d, X[0], X[0], 1.0, X[0, :2])),
        ("weights_b", at(metrics.wasserstein_1d, X[0], X[0], 1.0, None, [NAN] * 3)),
    ],
    "load_classifier": [
        ("dataset_name", at(metrics.load_classifier, None)),
        ("dataset", at(metrics.load_classifier, "nothing")),
        ("directory", at(metrics.load_classifier, "digits", 3)),
    ],
    "save_classifier": [
        ("path", at(metrics.save_classifier, None, {}, METADATA)),
        ("variables", at(metrics.save_classifier, "x", None, METADATA)),
        ("metadata", at(metrics.save_classifier, "x", {}, None)),
        ("metadata", at(metrics.save_classifier, "x", {}, {})),
        ("dtype", at(metrics.save_classifier, "x", {}, METADATA, "int8")),
    ],
    # data
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
    # training
    "configure_backend": [("cpu_devices", at(training.configure_backend, n)) for n in (0, "2")],
    "set_cpu_devices": [("count", at(training.set_cpu_devices, n)) for n in (0, 1.5)],
    "make_mesh": [
        ("num_devices", at(training.make_mesh, 0)),
        ("num_devices", at(training.make_mesh, 10**6)),
        ("fsdp", at(training.make_mesh, 1, 2)),
    ],
    "shard_batch": [
        ("batch", at(training.shard_batch, X, MESH)),
        ("batch", at(training.shard_batch, {"x": 3.0}, MESH)),
        ("mesh", at(training.shard_batch, {"x": X}, 3)),
    ],
    "shard_state": [
        ("mesh", at(training.shard_state, {"w": X}, None)),
        ("min_size", at(training.shard_state, {"w": X}, MESH, -1)),
        ("state", at(training.shard_state, {"w": "a"}, MESH)),
    ],
    "restore_state": [
        ("directory", at(training.restore_state, None, {})),
        ("step", at(training.restore_state, "nowhere", {}, "last")),
        ("step", at(training.restore_state, "nowhere", {}, 1.5)),
        ("on_damage", at(training.restore_state, "nowhere", {}, None, "warn")),
    ],
    "check_writable": [("output", at(training.check_writable, "output", None))],
    "write_json": [("path", at(training.write_json, 3, {}))],
    "read_config": [
        ("directory", at(training.read_config, None)),
        ("nowhere", at(training.read_config, "nowhere")),
    ],
    "start_from": [
        ("initial", at(training.start_from, jnp.zeros(3), jnp.zeros(4))),
        ("initial", at(training.start_from, {"w": jnp.zeros(3)}, {"v": jnp.zeros(3)})),
        ("initial", at(training.start_from, (jnp.zeros(3),), None)),
    ],
    "check_same_run": [("path", at(training.check_same_run, 3))],
    "saved_steps": [("directory", at(training.saved_steps, None))],
    "write_report": [
        ("directory", at(training.write_report, 3)),
        ("directory", at(training.write_report, "nowhere/at/all")),
        ("numbers", at(training.write_report, ".", [1])),
    ],
    "run_main": [("main", at(training.run_main, None))],
    # modules of data
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
"""Function, or MODULE.FUNCTION of data -> (what its line must name, the call)."""
