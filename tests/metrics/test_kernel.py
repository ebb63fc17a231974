"""Kernel statistics against double loops, and their bias by blocks of independent sets."""

import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.metrics import (
    energy_distance,
    kernel_distance,
    kernel_distance_blocks,
    mean_and_error,
    mmd,
)

pytestmark = pytest.mark.usefixtures("optimized")

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(12, 3)), RNG.normal(size=(9, 3)) * 1.5 + 0.3
KERNELS = {
    "kernel": (kernel_distance, lambda x, y: (np.dot(x, y) / len(x) + 1) ** 3),
    "mmd": (
        lambda a, b: mmd(a, b, bandwidths=[0.5, 2.0]),
        lambda x, y: np.mean([np.exp(-np.sum((x - y) ** 2) / (2 * h * h)) for h in (0.5, 2.0)]),
    ),
    "energy": (energy_distance, lambda x, y: -np.sqrt(np.sum((x - y) ** 2))),
}


@pytest.mark.parametrize("name", KERNELS)
def test_matches_a_double_loop(name):
    statistic, k = KERNELS[name]
    within = lambda s: np.mean(
        [k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]
    )
    truth = within(A) + within(B) - 2 * np.mean([k(x, y) for x in A for y in B])
    np.testing.assert_allclose(statistic(A, B), truth, rtol=1e-10)


@pytest.mark.parametrize("statistic", [mmd, energy_distance])
def test_a_common_shift_changes_nothing(statistic):
    """Points on a grid, whose differences a shift of 1e8 keeps; by uncentred products 26 % off."""
    a, b = np.round(8 * A), np.round(8 * B)
    np.testing.assert_allclose(statistic(a + 1e8, b + 1e8), statistic(a, b), rtol=1e-12)


def test_groups_far_from_each_other_keep_their_widths():
    """Two groups 1e8 apart, their inner distances of 1: the energy distance to a copy of width 2.

    Within each group it is that of its own points; between groups all distances are the same.
    """
    group, wide = np.round(64 * A) / 64, np.round(64 * A) / 32
    both = lambda x: np.concatenate([x, x + 1e8])
    found = energy_distance(both(group), both(wide), unbiased=False)
    alone = energy_distance(group, wide, unbiased=False)
    np.testing.assert_allclose(found, alone / 2, atol=1e-6)


@pytest.mark.parametrize("statistic", [mmd, energy_distance])
def test_biased_form_is_zero_for_identical_sets_and_never_negative(statistic):
    assert abs(statistic(A, A, unbiased=False)) < 1e-6
    assert statistic(A, B, unbiased=False) > 0


def test_default_bandwidths_scale_with_the_data():
    np.testing.assert_allclose(mmd(A, B), mmd(100 * A, 100 * B), rtol=1e-9)


def score(statistic, n=60, repeats=80):
    """The statistic's mean over independent pairs of equal laws, in standard errors."""
    pairs = np.random.default_rng(3).normal(size=(repeats, 2, n, 4))
    value, error = mean_and_error(np.array([statistic(a, b) for a, b in pairs]))
    return value / error


@pytest.mark.parametrize("name", KERNELS)
def test_mean_is_zero_for_equal_laws(name):
    """|t| < 6 with 79 degrees of freedom: false alarms 6e-8 each, skewness aside."""
    assert abs(score(KERNELS[name][0])) < 6


def test_the_biased_form_fails_that_test():
    assert score(lambda a, b: mmd(a, b, unbiased=False)) > 20


def test_blocks_give_the_mean_and_error_of_their_parts():
    """A shift of 0.3 in 4 of 8 directions: both estimates see it and agree within 5 errors."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 2000, 8))
    b[:, :4] += 0.3
    blocks, whole = kernel_distance_blocks(a, b, block_size=100), kernel_distance(a, b)
    assert abs(blocks.value - whole) < 5 * blocks.error
    assert blocks.value > 5 * blocks.error


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="block_size=10"):
        kernel_distance_blocks(A, B, block_size=10)
    with pytest.raises(ConfigError, match="bandwidths"):
        mmd(A, B, bandwidths=[-1.0])
    with pytest.raises(ConfigError, match="bandwidths"):
        mmd(np.ones((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ConfigError, match="dimensions"):
        energy_distance(A, B[:, :2])


def test_bandwidths_of_a_set_without_spread_are_those_of_no_argument():
    """The message names the set, not the bandwidths that nobody gave."""
    with pytest.raises(ConfigError, match="^a has no spread, its 5 rows are equal"):
        mmd(np.full((5, 2), 0.3), A[:, :2])
    assert mmd(np.full((5, 2), 0.3), np.full((5, 2), 0.3), bandwidths=[1.0]) == 0
