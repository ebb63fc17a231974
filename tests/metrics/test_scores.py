"""Closed forms of the inception score, likelihood, modes and error bars."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax.errors import ConfigError
from gen_jax.metrics import (
    Estimate,
    bits_per_dim,
    bootstrap,
    calibrate,
    inception_score,
    kernel_distance,
    mean_and_error,
    mode_report,
    mode_weights,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("classes", [2, 10])
def test_inception_score_extremes(classes):
    certain = np.tile(np.eye(classes), (6, 1))
    assert inception_score(certain) == pytest.approx(classes)
    assert inception_score(np.full((8, classes), 1 / classes)) == pytest.approx(1)
    assert inception_score(certain[::classes]) == pytest.approx(1)


def test_inception_score_is_exp_of_the_mutual_information():
    p = RNG.dirichlet(np.ones(4), size=50)
    entropy = scipy.stats.entropy
    truth = np.exp(entropy(p.mean(0)) - np.mean(entropy(p, axis=1)))
    assert inception_score(p) == pytest.approx(truth)
    assert inception_score(np.concatenate([p, p]), splits=2) == pytest.approx(truth)


@pytest.mark.parametrize("bad", [np.ones((3, 2)), np.array([[1.5, -0.5]]), np.ones(3)])
def test_inception_score_wants_probabilities(bad):
    with pytest.raises(ConfigError, match="probabilities"):
        inception_score(bad)


def test_a_uniform_model_over_256_values_costs_8_bits():
    assert bits_per_dim(28 * 28 * np.log(1 / 256), 28 * 28) == pytest.approx(8)
    log_prob = jnp.full(5, 3 * jnp.log(1 / 256))
    np.testing.assert_allclose(bits_per_dim(log_prob, 3), 8, rtol=1e-6)


MEANS = np.array([[x, y] for x in (-2.0, 0, 2) for y in (-2.0, 0, 2)])


def test_modes_of_exact_samples():
    """9 modes, 20000 samples: each share is within 5 binomial errors (9 x 6e-7 false alarms)."""
    n, std = 20_000, 0.1
    samples = MEANS[RNG.integers(0, 9, n)] + std * RNG.normal(size=(n, 2))
    np.testing.assert_allclose(mode_weights(samples, MEANS), 1 / 9, atol=5 * np.sqrt(8 / 81 / n))
    report = mode_report(samples, MEANS, std)
    good = 1 - np.exp(-4.5)
    assert report.covered == report.num_modes == 9
    assert report.total_variation < 9 / 2 * 5 * np.sqrt(8 / 81 / n)
    assert abs(report.high_quality - good) < 5 * np.sqrt(good * (1 - good) / n)


def test_missing_and_blurred_modes():
    three = np.repeat(MEANS[:3], 100, axis=0)
    report = mode_report(three, MEANS, 0.1)
    assert (report.covered, report.high_quality) == (3, 1)
    np.testing.assert_allclose(report.total_variation, 1 - 3 / 9)
    known = mode_report(three, MEANS, 0.1, weights=np.eye(3, 9).mean(0))
    assert known.total_variation < 1e-12
    assert (known.covered, known.num_modes) == (3, 3)
    # Samples between the modes are nearest to some mode but cover none.
    assert mode_report(MEANS + 0.5, MEANS, 0.1).covered == 0
    with pytest.raises(ConfigError, match="weights"):
        mode_report(three, MEANS, 0.1, weights=np.ones(9))


@pytest.mark.parametrize("replace", [True, False])
def test_bootstrap_error_of_a_mean(key, replace):
    """400 resamples know a standard deviation to 1 / sqrt(800) = 3.5 %: 18 % is 5 of them."""
    x = RNG.normal(size=400)
    estimate = bootstrap(key, np.mean, x, num_resamples=400, replace=replace)
    assert estimate.value == np.mean(x)
    np.testing.assert_allclose(estimate.error, mean_and_error(x).error, rtol=0.18)


def test_bootstrap_of_two_sets_keeps_their_rows_apart(key):
    a, b = np.full((8, 2), 1.0), np.full((6, 2), 5.0)
    assert bootstrap(key, lambda a, b: float(b.mean() - a.mean()), a, b) == (4, 0)


def test_calibration_compares_disjoint_parts(key):
    seen = []

    def statistic(a, b):
        seen.append((len(a), len(b), len(set(a) & set(b))))
        return 0.0

    assert calibrate(key, statistic, np.arange(21), size=10, num_repeats=3) == (0, 0)
    assert seen == [(10, 10, 0)] * 3
    with pytest.raises(ConfigError, match="size"):
        calibrate(key, statistic, np.arange(21), size=11)


def test_calibration_of_an_unbiased_distance_is_about_zero(key):
    x = RNG.normal(size=(200, 3))
    value, error = calibrate(key, kernel_distance, x)
    assert abs(value) < 2 * error
    assert calibrate(key, kernel_distance, x) == (value, error)
    assert calibrate(jax.random.key(1), kernel_distance, x) != (value, error)


def test_estimates_are_printed_to_their_precision():
    assert str(Estimate(3.14159, 0.0123)) == "3.142 +- 0.012"
    assert str(Estimate(1234.5, 56.0)) == "1234 +- 56"
    assert str(Estimate(0.5, 0.0)) == "0.5"
    with pytest.raises(ConfigError, match="N >= 2"):
        mean_and_error(np.ones(1))
