"""The classifier two-sample test: its false-alarm rate, its power, and its ends."""

import jax
import numpy as np
import pytest

from gen_jax.errors import ConfigError, DataError
from gen_jax.metrics import classifier_two_sample


def test_false_alarms_are_as_rare_as_the_p_value_says():
    """80 pairs of equal laws: more than 13 p-values below 0.05 have a probability of 5e-5 at most
    (the binomial law of rate 0.05), and the accuracies scatter about 1/2 by 1 / sqrt(4 n)."""
    rng = np.random.default_rng(0)
    found = [
        classifier_two_sample(jax.random.key(i), *rng.normal(size=(2, 60, 2)), steps=20)
        for i in range(80)
    ]
    assert sum(test.p_value <= 0.05 for test in found) <= 13
    accuracy = np.array([test.accuracy.value for test in found])
    assert abs(accuracy.mean() - 0.5) < 5 * np.sqrt(0.25 / (60 * 80))
    assert sum(test.low <= 0.5 <= test.high for test in found) >= 67


def test_a_shift_is_told_as_well_as_the_best_rule_tells_it(key):
    """N(0, 1) against N(2, 1): Phi(1) = 0.841 of fresh rows; 800 are tried, 5 deviations."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 800, 2))
    found = classifier_two_sample(key, a, b + np.array([2, 0]), steps=300)
    assert abs(found.accuracy.value - 0.8413) < 5 * np.sqrt(0.8413 * 0.1587 / 800)
    assert found.low < found.accuracy.value < found.high
    assert found.p_value < 1e-50


def test_a_difference_beyond_means_is_told(key):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 800, 2))
    assert classifier_two_sample(key, a, 3 * b, steps=300).accuracy.value > 0.65


def test_constant_and_equal_sets_are_not_told_apart(key):
    ones = np.ones((60, 2))
    found = classifier_two_sample(key, ones, ones, steps=20)
    assert found.accuracy.value == 0.5
    assert classifier_two_sample(key, ones, 0 * ones, steps=100).accuracy == (1.0, 0.0)


def test_sets_of_two_sizes_are_cut_to_the_smaller(key):
    """So that a classifier that always names one set is right for a half."""
    rng = np.random.default_rng(3)
    found = classifier_two_sample(key, rng.normal(size=(400, 2)), rng.normal(size=(60, 2)), steps=5)
    assert (found.accuracy.value * 60) % 1 == pytest.approx(0, abs=1e-9)
    with pytest.raises(ConfigError, match="N >= 4"):
        classifier_two_sample(key, np.ones((1, 2)), np.ones((9, 2)))
    with pytest.raises(DataError, match="a holds values"):
        classifier_two_sample(key, np.full((9, 2), np.nan), np.ones((9, 2)))


def test_blurred_modes_are_told(key):
    """Eight modes of deviation 0.1, and the same of 0.5: the best rule, a radius of 0.26 around the
    centres, tells (1 - exp(-3.35) + exp(-0.134)) / 2 = 0.92; the defaults tell most of it."""
    rng = np.random.default_rng(4)
    angle = rng.integers(0, 8, (2, 2000)) * np.pi / 4
    centre = 4 * np.stack([np.cos(angle), np.sin(angle)], -1)
    sharp, blurred = centre + np.array([0.1, 0.5])[:, None, None] * rng.normal(size=(2, 2000, 2))
    assert classifier_two_sample(key, sharp, blurred).accuracy.value > 0.75
