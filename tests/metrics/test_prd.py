"""The curve of precision and recall against linear programs, closed forms and k-means itself."""

import jax
import numpy as np
import pytest
from scipy.optimize import linprog

from gen_jax.metrics import prd_curve, precision_recall_curve

pytestmark = pytest.mark.usefixtures("optimized")


def best_recall(p, q, slope):
    """Most mass of a common part: beta mu <= p, slope beta mu <= q, by a linear program."""
    eye = np.eye(len(p))
    limits = {"A_ub": np.concatenate([eye, slope * eye]), "b_ub": np.concatenate([p, q])}
    return -linprog(-np.ones(len(p)), **limits).fun


@pytest.mark.parametrize("seed", range(3))
def test_is_the_best_common_part(seed):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(6, 0.5), 2)
    precision, recall = prd_curve(p, 7 * q, num_angles=9)
    for alpha, beta in zip(precision[1:-1], recall[1:-1]):
        np.testing.assert_allclose(beta, best_recall(p, q, alpha / beta), rtol=1e-9)
    np.testing.assert_allclose((recall[0], precision[-1]), 1, rtol=1e-4)
    assert (np.diff(precision) >= 0).all()
    assert (np.diff(recall) <= 0).all()


def test_closed_forms():
    """Equal: both 1. Half of the modes: precision 1 at recall 1/2. Disjoint: nothing."""
    equal = prd_curve([1, 1], [1, 1], 3)
    assert (equal[0][1], equal[1][1]) == pytest.approx((1, 1))
    half = prd_curve([1, 1], [1, 0])
    assert half[0].max() == pytest.approx(1)
    assert half[1].max() == pytest.approx(0.5)
    assert np.max(prd_curve([1, 0], [0, 1])) == 0


def modes(rng, weights, n):
    return np.eye(4)[rng.choice(4, n, p=weights)] * 50 + rng.normal(size=(n, 4))


def test_lost_modes_cost_recall_and_bad_samples_precision(key):
    """Separate clusters are found, so the histograms are the weights of the modes: F_8 of a model
    with half of the modes is max over the curve of 65 a b / (64 a + b) at (1, 1/2)."""
    rng = np.random.default_rng(0)
    real, lost = modes(rng, [0.25] * 4, 600), modes(rng, [0.5, 0.5, 0, 0], 600)
    options = {"clusters": 8, "repeats": 2}
    found = precision_recall_curve(key, real, lost, **options)
    assert found.f_8.value == pytest.approx(65 * 0.5 / (64 + 0.5), abs=0.06)
    assert found.f_1_8.value > 0.9
    swapped = precision_recall_curve(key, lost, real, **options)
    assert swapped.f_1_8.value == pytest.approx(65 * 0.5 / (64 + 0.5), abs=0.06)
    assert swapped.f_8.value > 0.9
    assert found.precision.shape == found.recall.shape == (1001,)


def test_two_real_sets_score_a_little_below_one_and_the_error_is_their_scatter():
    """30 pairs of 300 rows: their scatter is known to 13 %, the stated error is its like."""
    rng = np.random.default_rng(1)
    found = [
        precision_recall_curve(jax.random.key(i), *rng.normal(size=(2, 300, 2)), repeats=2).f_8
        for i in range(30)
    ]
    values, errors = np.array(found).T
    assert 0.85 < values.mean() < 1
    assert 0.4 < errors.mean() / values.std() < 2.5


def test_equal_and_constant_sets(key):
    x = np.random.default_rng(2).normal(size=(50, 3))
    assert precision_recall_curve(key, x, x, repeats=1).f_8.value == pytest.approx(1)
    ones = np.ones((10, 2))
    assert precision_recall_curve(key, ones, ones, clusters=3).f_1_8.value == pytest.approx(1)


@pytest.mark.parametrize("unit", [2.0**-90, 2.0**90])
def test_does_not_depend_on_the_unit(unit):
    real, fake = np.random.default_rng(6).normal(size=(2, 60, 2)) + [[[0.0]], [[2.0]]]
    usual, found = (
        precision_recall_curve(jax.random.key(0), real * u, fake * u) for u in (1, unit)
    )
    np.testing.assert_allclose(found.recall, usual.recall)
    assert found.f_8 == pytest.approx(usual.f_8)
