"""Statically binarised images: drawn once, with the right frequencies."""

import exact
import numpy as np
import pytest

from gen_jax.data import binarize, describe, load
from gen_jax.data.binarized import binarise
from gen_jax.errors import ConfigError


def test_white_has_the_probability_of_the_grey_level():
    """z-scores of the counts at levels 1 .. 254 are N(0, 1); 0 and 255 are certain."""
    n = 4000
    x = np.broadcast_to(np.arange(256, dtype=np.uint8), (n, 256))
    drawn = binarise(x, 3, 0)
    assert set(np.unique(drawn)) == {0, 255}
    share = (drawn == 255).mean(0)
    assert share[0] == 0
    assert share[255] == 1
    score = lambda p: (share - p)[1:-1] / np.sqrt(p * (1 - p) / n)[1:-1]
    p = np.arange(256) / 255
    assert exact.standard_normal_p_value(score(p)) > 5e-7
    assert exact.standard_normal_p_value(score(0.97 * p)) < 5e-7  # planted


def test_a_dataset_of_black_and_white():
    spec, grey = describe("binarized:digits"), load("digits")
    data = load("binarized:digits")
    assert (spec.kind, spec.shape, spec.num_classes) == ("images", (8, 8, 1), 10)
    assert (data["x"].dtype, data["x"].shape) == (np.uint8, grey["x"].shape)
    np.testing.assert_array_equal(data["y"], grey["y"])
    np.testing.assert_array_equal(data["x"], load("binarized:digits@0")["x"])
    assert (data["x"] != load("binarized:digits@1")["x"]).any()
    assert (binarise(grey["x"], 0, 0) != binarise(grey["x"], 0, 1)).any()
    u = binarize().encode(None, data["x"][:5])
    np.testing.assert_array_equal(np.asarray(u) * 255, data["x"][:5])


@pytest.mark.parametrize("name", ["binarized:moons", "binarized:digit", "binarized:digits@x"])
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match="dataset="):
        load(name)
