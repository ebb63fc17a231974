"""Wrong calls of the functions of `metrics`."""

import jax.numpy as jnp
import numpy as np

from gen_jax import metrics, sampling
from wrong_calls.common import BAD, IMAGE, KEY, KEYS, MASKED, NAN, WORDS, X, at

MEAN, COV = np.zeros(3), np.eye(3)
RING = sampling.make_target("ring")
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
        ("neighbour_scores", metrics.neighbour_scores, ("real", "fake")),
    )
}
OPTIONS = {
    "kernel_distance": {"degree": (0, 1.5, "a", None)},
    "kernel_distance_blocks": {"degree": (0, 1.5), "block_size": (0, 1, 1.5, None)},
    "mmd": {"bandwidths": ((), (0,), (NAN,), "a"), "unbiased": ("yes", 2)},
    "energy_distance": {"unbiased": ("yes", 2)},
    "precision_recall": {"k": (0, 1.5, "a", 12)},
    "density_coverage": {"k": (0, 1.5, "a", 12)},
    "neighbour_scores": {"k": (0, 1.5, "a", 12), "density_k": (0, 1.5, "a", 12)},
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
TOKENS = np.arange(8).reshape(2, 4) % 3
NO_TOKENS = (None, WORDS, X, TOKENS[0], TOKENS[:, :0], -TOKENS, np.ma.masked_equal(TOKENS, 0))
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
        ("logits", at(metrics.classifier_scores, x)) for x in (None, WORDS, X[0], X[:, :0])
    ],
    "bits_per_dim": [
        ("log_prob", at(metrics.bits_per_dim, NAN, 2)),
        ("log_prob", at(metrics.bits_per_dim, "a", 2)),
        ("log_prob", at(metrics.bits_per_dim, jnp.array([NAN]), 2)),
        ("num_dims", at(metrics.bits_per_dim, 1.0, 0)),
        ("num_dims", at(metrics.bits_per_dim, 1.0, 2.5)),
    ],
    "ngram_log_prob": [
        *(("training", at(metrics.ngram_log_prob, t, TOKENS, 3)) for t in NO_TOKENS),
        *(("tokens", at(metrics.ngram_log_prob, TOKENS, t, 3)) for t in NO_TOKENS),
        *(("size", at(metrics.ngram_log_prob, TOKENS, TOKENS, n)) for n in (0, 2.5, None)),
        ("tokens", at(metrics.ngram_log_prob, TOKENS * 0, TOKENS, 2)),
        *(("order", at(metrics.ngram_log_prob, TOKENS, TOKENS, 3, n)) for n in (0, 1.5, "a")),
    ],
    "token_entropy": [("tokens", at(metrics.token_entropy, t)) for t in NO_TOKENS],
    "distinct_ngrams": [
        *(("tokens", at(metrics.distinct_ngrams, t)) for t in NO_TOKENS),
        *(("order", at(metrics.distinct_ngrams, TOKENS, n)) for n in (0, 1.5, 5, None)),
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
}
