"""How good are samples? Distances between sets, likelihoods, coverage of modes, novelty.

Set-against-set metrics take the real set first, as features [N, D] (trailing axes are flattened),
compute in float64 (`sliced_wasserstein` in the dtype that JAX gives the sets) and are listed in
`METRICS`. No number stands alone: `calibrate` gives its value between two real sets of the same
size, `bootstrap` its standard error, and a feature network's `label` says what was compared.
"""

from collections.abc import Callable

import jax

from gen_jax.divergences.wasserstein import sliced_wasserstein, wasserstein_1d
from gen_jax.metrics.detection import auroc, classifier_scores, likelihood_scores, png_nats
from gen_jax.metrics.downstream import Downstream, downstream_accuracy
from gen_jax.metrics.exact_samples import compare_with_exact
from gen_jax.metrics.features import (
    FEATURES,
    ClassifierFeatures,
    PixelFeatures,
    load_classifier,
    save_classifier,
)
from gen_jax.metrics.frechet import Moments, frechet_distance, frechet_from_features, moments
from gen_jax.metrics.inception_score import inception_score
from gen_jax.metrics.kernel import energy_distance, kernel_distance, kernel_distance_blocks, mmd
from gen_jax.metrics.likelihood import bits_per_dim
from gen_jax.metrics.modes import ModeReport, mode_report, mode_weights
from gen_jax.metrics.novelty import (
    NoveltyReport,
    authenticity,
    memorisation_ratio,
    nearest_neighbour_distances,
    novelty_report,
)
from gen_jax.metrics.prd import PrecisionRecallCurve, prd_curve, precision_recall_curve
from gen_jax.metrics.precision_recall import (
    DensityCoverage,
    NeighbourScores,
    PrecisionRecall,
    density_coverage,
    neighbour_scores,
    precision_recall,
)
from gen_jax.metrics.proportion import binomial_tail, proportion_interval
from gen_jax.metrics.resampling import Estimate, bootstrap, calibrate, mean_and_error
from gen_jax.metrics.text import distinct_ngrams, ngram_log_prob, token_entropy
from gen_jax.metrics.two_sample import TwoSampleTest, classifier_two_sample
from gen_jax.registries import described

METRICS: dict[str, Callable[..., float]] = {
    "frechet": frechet_from_features,
    "kernel": kernel_distance,
    "mmd": mmd,
    "energy": energy_distance,
    "sliced_wasserstein": described(
        "Wasserstein-2 distance of one-dimensional projections, averaged.",
        lambda a, b: float(sliced_wasserstein(jax.random.key(0), a, b)),
    ),
    "precision": described(
        "Share of samples inside the data's estimated support (kynkaanniemi2019).",
        lambda a, b: precision_recall(a, b).precision,
    ),
    "recall": described(
        "Share of the data inside the samples' estimated support.",
        lambda a, b: precision_recall(a, b).recall,
    ),
    "density": described(
        "How many neighbourhoods of data hold each sample, scaled (naeem2020).",
        lambda a, b: density_coverage(a, b).density,
    ),
    "coverage": described(
        "Share of the data that have a sample in their neighbourhood (naeem2020).",
        lambda a, b: density_coverage(a, b).coverage,
    ),
}
"""`METRICS[name](real [N, D], other [M, D]) -> float`, at the defaults of each; without those
whose value depends on a key (`classifier_two_sample`, `precision_recall_curve`)."""

LARGER_IS_BETTER = frozenset({"precision", "recall", "density", "coverage"})
"""The metrics that fall as the sets part; all others are distances and grow."""

__all__ = [
    "FEATURES",
    "LARGER_IS_BETTER",
    "METRICS",
    "ClassifierFeatures",
    "DensityCoverage",
    "Downstream",
    "Estimate",
    "ModeReport",
    "Moments",
    "NeighbourScores",
    "NoveltyReport",
    "PixelFeatures",
    "PrecisionRecall",
    "PrecisionRecallCurve",
    "TwoSampleTest",
    "auroc",
    "authenticity",
    "binomial_tail",
    "bits_per_dim",
    "bootstrap",
    "calibrate",
    "classifier_scores",
    "classifier_two_sample",
    "compare_with_exact",
    "density_coverage",
    "distinct_ngrams",
    "downstream_accuracy",
    "energy_distance",
    "frechet_distance",
    "frechet_from_features",
    "inception_score",
    "kernel_distance",
    "kernel_distance_blocks",
    "likelihood_scores",
    "load_classifier",
    "mean_and_error",
    "memorisation_ratio",
    "mmd",
    "mode_report",
    "mode_weights",
    "moments",
    "nearest_neighbour_distances",
    "neighbour_scores",
    "ngram_log_prob",
    "novelty_report",
    "png_nats",
    "prd_curve",
    "precision_recall",
    "precision_recall_curve",
    "proportion_interval",
    "save_classifier",
    "sliced_wasserstein",
    "token_entropy",
    "wasserstein_1d",
]
