"""Images with noise in some pixels: the right share of them, uniformly distributed."""

import exact
import numpy as np
import pytest

from gen_jax.data import describe, load
from gen_jax.data.mutated import mutate
from gen_jax.errors import ConfigError


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_a_share_of_the_values_is_uniform_and_the_rest_as_before(rate):
    """Counts of each value of an image of zeros: z-scores are N(0, 1)."""
    n = 400_000
    counts = np.bincount(mutate(np.zeros(n, np.uint8), rate, 0), minlength=256)
    score = lambda p: (counts / n - p) / np.sqrt(p * (1 - p) / n)
    p = np.full(256, rate / 256)
    assert exact.standard_normal_p_value(score(p)[1:]) > 5e-7
    assert abs(counts[0] / n - (1 - rate + rate / 256)) < 5 * np.sqrt(0.25 / n)
    planted = np.full(256, 1.05 * rate / 256)
    assert exact.standard_normal_p_value(score(planted)[1:]) < 5e-7


def test_a_dataset_with_noise():
    spec, clean = describe("mutated:digits@0.3"), load("digits")
    noisy = load("mutated:digits@0.3")
    assert (spec.kind, spec.shape, spec.num_classes) == ("images", (8, 8, 1), 10)
    np.testing.assert_array_equal(noisy["y"], clean["y"])
    assert noisy["x"].dtype == np.uint8
    changed = (noisy["x"] != clean["x"]).mean()
    assert abs(changed - 0.3 * 255 / 256) < 0.01
    np.testing.assert_array_equal(noisy["x"], load("mutated:digits@0.3")["x"])
    assert (load("mutated:digits")["x"] != clean["x"]).mean() < 0.11


@pytest.mark.parametrize(
    "name", ["mutated:moons", "mutated:digit", "mutated:digits@0", "mutated:digits@x"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match="dataset="):
        load(name)
