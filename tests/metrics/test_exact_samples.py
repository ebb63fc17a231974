"""Numbers beside exact sets: exact samples get the reference, planted errors their size."""

import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.metrics import compare_with_exact
from gen_jax.metrics.resampling import Estimate
from gen_jax.sampling import make_target


def test_exact_samples_get_what_two_exact_sets_get(key):
    target = make_target("ring")
    numbers = compare_with_exact(key, target, target.sample(key, 2000), Estimate(0.25, 0.1))
    assert numbers["modes_covered"] == numbers["modes"] == 8
    # About sqrt(K / (2 pi N)) = 0.025.
    assert numbers["mode_weight_tv"] < 0.06
    assert numbers["mode_weight_tv_exact"] < 0.06
    spread = numbers["sliced_wasserstein_exact_std"]
    assert abs(numbers["sliced_wasserstein"] - numbers["sliced_wasserstein_exact"]) < 6 * spread
    assert numbers["log_normalizer_error"] == 0.25
    assert numbers["not_finite"] == 0


def test_lost_modes_and_shifts_are_seen(key):
    target = make_target("ring")
    x = np.array(target.sample(key, 2000))
    half = x[x[:, 0] > 1]
    numbers = compare_with_exact(key, target, half)
    assert numbers["modes_covered"] == 3
    assert numbers["mode_weight_tv"] == pytest.approx(5 / 8, abs=0.05)
    # |m - m'| / sqrt(D) for a pure shift, within the noise of 2,000 points.
    shifted = compare_with_exact(key, target, x + np.array([3.0, 0.0]))
    assert shifted["sliced_wasserstein"] == pytest.approx(3 / np.sqrt(2), abs=0.3)
    x[:500] = np.nan
    assert compare_with_exact(key, target, x)["not_finite"] == 0.25


def test_targets_without_modes_and_without_a_sampler(key):
    wells = make_target("many_well", dim=4)
    numbers = compare_with_exact(key, wells, wells.sample(key, 500))
    assert set(numbers) >= {"sliced_wasserstein"}
    assert "modes" not in numbers
    blind = wells._replace(sample=None, log_normalizer=None)
    assert set(compare_with_exact(key, blind, np.zeros((5, 4)), Estimate(0, 1))) == {"not_finite"}


@pytest.mark.parametrize("samples", [np.zeros((5, 3)), np.zeros(5), np.full((5, 2), np.nan)])
def test_wrong_samples(key, samples):
    with pytest.raises(ConfigError, match="samples"):
        compare_with_exact(key, make_target("ring"), samples)
