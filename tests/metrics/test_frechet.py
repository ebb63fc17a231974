"""Frechet distance against scipy's matrix root, and its bias against the second-order expansion."""

import numpy as np
import pytest
import scipy.linalg

from gen_jax.errors import ConfigError, DataError
from gen_jax.metrics import Moments, frechet_distance, frechet_from_features, moments


def random_gaussian(rng, d, condition=1e3):
    basis, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return rng.normal(size=d), basis * np.geomspace(1, condition, d) @ basis.T


@pytest.mark.parametrize("d", [1, 3, 40])
def test_matches_scipy_sqrtm(d):
    rng = np.random.default_rng(d)
    (ma, ca), (mb, cb) = random_gaussian(rng, d), random_gaussian(rng, d, 10)
    root = np.atleast_2d(scipy.linalg.sqrtm(ca @ cb)).real
    truth = np.sum((ma - mb) ** 2) + np.trace(ca + cb - 2 * root)
    np.testing.assert_allclose(frechet_distance(ma, ca, mb, cb), truth, rtol=1e-9)
    np.testing.assert_allclose(frechet_distance(mb, cb, ma, ca), truth, rtol=1e-9)


def test_commuting_gaussians_of_low_rank():
    """Diagonal covariances: sum of (s_a - s_b)^2, also where both or one of them are zero."""
    sa, sb = np.array([2.0, 1.0, 0.0, 0.0]), np.array([0.5, 0.0, 3.0, 0.0])
    value = frechet_distance(np.zeros(4), np.diag(sa**2), np.full(4, 0.5), np.diag(sb**2))
    np.testing.assert_allclose(value, 1 + 1.5**2 + 1 + 9, rtol=1e-12)


def test_a_set_with_constant_features_is_at_distance_zero_from_itself():
    x = np.random.default_rng(0).normal(size=(50, 80)) * 100
    x[:, ::3] = 7.0
    assert frechet_from_features(x, x) < 1e-8


@pytest.mark.parametrize(("n", "m"), [(5, 9), (30, 60), (40, 41)])
def test_few_examples_of_many_features_are_as_their_moments(n, m):
    """Without their [D, D] covariances: by the factors, the same number."""
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(n, 50)), 1 + 2 * rng.normal(size=(m, 50))
    truth = frechet_distance(*moments(a), *moments(b))
    np.testing.assert_allclose(frechet_from_features(a, b), truth, rtol=1e-9)
    huge = rng.normal(size=(2, 10, 100_000))
    assert frechet_from_features(*huge) > 0


def test_moments_are_numpys():
    x = np.random.default_rng(0).normal(size=(30, 4)) + 1e4
    mean, cov = moments(x)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(cov, np.cov(x, rowvar=False), rtol=1e-9)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_streaming_does_not_depend_on_batches_order_or_merging(size):
    """In float32 with a large offset, where a running sum of squares would cancel to nothing."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(300, 5)) + 1e4).astype(np.float32)
    halves = [Moments.empty(5), Moments.empty(5)]
    for index, start in enumerate(range(0, len(x), size)):
        halves[index % 2] = halves[index % 2].add(x[start : start + size])
    for total in (halves[0].merge(halves[1]), halves[1].merge(halves[0])):
        assert total.count == 300
        np.testing.assert_allclose(total.cov, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-9)


def test_bias_is_about_d_squared_over_2n():
    """Two sets of one white law: d (d + 5) / (2 N) to second order, and half of it at twice N.

    The mean of 8 values has a relative standard deviation of 2 / (d sqrt(8)) = 2.2 %, and the next
    order in the expansion is d / N = 3 %: 15 % is 5 deviations (false alarms 6e-7) and rules out a
    missing factor of 2.
    """
    rng, d = np.random.default_rng(2), 32
    for n in (1024, 2048):
        values = [frechet_from_features(*rng.normal(size=(2, n, d))) for _ in range(8)]
        np.testing.assert_allclose(np.mean(values), d * (d + 5) / (2 * n), rtol=0.15)


def test_mistakes_are_named():
    eye = np.eye(2)
    with pytest.raises(ConfigError, match="eigenvalue"):
        frechet_distance(np.zeros(2), -eye, np.zeros(2), eye)
    with pytest.raises(ConfigError, match="shapes"):
        frechet_distance(np.zeros(2), eye, np.zeros(3), np.eye(3))
    with pytest.raises(DataError, match="not finite"):
        frechet_distance(np.full(2, np.nan), eye, np.zeros(2), eye)
    with pytest.raises(ConfigError, match="at least 2"):
        _ = Moments.empty(3).cov
    with pytest.raises(ConfigError, match="merged"):
        Moments.empty(3).add(np.zeros((2, 4)))
