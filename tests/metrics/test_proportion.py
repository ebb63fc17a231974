"""Intervals of a share and binomial tails against scipy, and their coverage."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from gen_jax.metrics import binomial_tail, proportion_interval

CASES = [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (5203, 10_000)]


@pytest.mark.parametrize("method", ["exact", "wilson"])
@pytest.mark.parametrize(("k", "n"), CASES)
def test_intervals_are_scipys(k, n, method):
    for confidence in (0.5, 0.95, 0.999):
        wanted = binomtest(k, n).proportion_ci(confidence, method)
        found = proportion_interval(k, n, confidence, method)
        np.testing.assert_allclose(found, (wanted.low, wanted.high), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("k", "n"), CASES)
def test_tails_are_scipys(k, n):
    for rate in (0.0, 0.2, 0.5, 1.0):
        np.testing.assert_allclose(
            binomial_tail(k, n, rate), binom.sf(k - 1, n, rate), rtol=1e-8, atol=1e-300
        )


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9])
def test_the_exact_interval_covers_and_wilson_nearly(rate):
    """By enumeration of all counts of 30 trials: no draws."""
    mass = binom.pmf(np.arange(31), 30, rate)

    def coverage(method):
        intervals = [proportion_interval(k, 30, 0.9, method) for k in range(31)]
        return sum(m for m, (low, high) in zip(mass, intervals) if low <= rate <= high)

    assert coverage("exact") >= 0.9
    assert coverage("wilson") > 0.84
