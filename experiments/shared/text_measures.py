"""Drawn texts beside test windows: perplexity under n-grams of the training text, repetition."""

import math
from typing import Any

import jax
import numpy as np

from experiments.shared.set_measures import RESAMPLES
from gen_jax import data, metrics
from gen_jax.types import Estimate, Float, Int

TEXTS = 100
"""Texts that `evaluate` draws if no number is given."""

NGRAM = 4
"""Tokens of the n-grams of which the distinct ones are counted."""


def training_text(name: str) -> Int[np.ndarray, "1 T"]:
    """The training part of a text as one row: its windows overlap, here each token counts once."""
    windows = data.load(name)["x"][:: data.text.WINDOW // data.text.STRIDE]
    return windows.reshape(1, -1)


def perplexity(log_prob: Float[np.ndarray, "N"], counts: np.ndarray) -> Estimate:
    """exp(-sum of log p / sum of counts) of N texts; the error is that of a ratio over texts."""
    rate = -float(log_prob.sum() / counts.sum())
    error = metrics.mean_and_error(-log_prob - rate * counts).error / float(counts.mean())
    return Estimate(math.exp(rate), math.exp(rate) * error)


def _measures(
    tokens: np.ndarray, log_prob: np.ndarray, vocabulary: data.Vocabulary, rows: int
) -> dict[str, Estimate]:
    counts = {"token": np.full(len(tokens), tokens.shape[1])}
    if vocabulary.kind != "characters":
        counts["character"] = np.array([len(vocabulary.decode(row)) for row in tokens])
    return {
        **{f"generated_perplexity_per_{u}": perplexity(log_prob, n) for u, n in counts.items()},
        "sample_entropy_bits": metrics.mean_and_error(metrics.token_entropy(tokens)),
        f"distinct_{NGRAM}_grams": metrics.bootstrap(
            jax.random.key(0),
            lambda tokens: metrics.distinct_ngrams(tokens, NGRAM),
            tokens[:rows],
            num_resamples=RESAMPLES,
            replace=False,
        ),
    }


def compare_texts(
    samples: Int[np.ndarray, "N L"],
    real: Int[np.ndarray, "M L"],
    training: Int[np.ndarray, "R T"],
    vocabulary: data.Vocabulary,
) -> dict[str, Any]:
    """Numbers of samples with their errors, and of real windows, which the n-grams have not seen.

    The share of distinct n-grams falls with the number of texts: it is that of the first of both,
    as many as the smaller set has.
    """
    both = np.concatenate([samples, real])
    log_prob = metrics.ngram_log_prob(training, both, vocabulary.size).sum(1)
    n, rows = len(samples), min(len(samples), len(real))
    usual = _measures(real, log_prob[n:], vocabulary, rows)
    report: dict[str, Any] = {}
    for name, value in _measures(samples, log_prob[:n], vocabulary, rows).items():
        report |= {name: value, f"{name}_real_train_test": usual[name].value}
    return report
