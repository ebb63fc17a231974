"""Pairs of images: each rule against scipy or arithmetic, names, labels, what is refused."""

import colorsys

import numpy as np
import pytest
from scipy import ndimage

from gen_jax.data import describe, load
from gen_jax.data.pairs import luma, outlines, paint, thicken, unpaired
from gen_jax.errors import ConfigError, DataError


def test_thick_strokes_are_a_grey_dilation():
    """Against scipy, with a cross as footprint."""
    x = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 2), np.uint8)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])[None, :, :, None]
    wanted = ndimage.grey_dilation(x, footprint=cross, mode="nearest")
    np.testing.assert_array_equal(thicken(x), wanted)


def test_a_step_has_an_outline_of_one_pixel_and_faint_ones_none():
    x = np.zeros((2, 8, 8, 1), np.uint8)
    x[0, :, 4:] = 200
    x[1, 3:] = 95
    found = outlines(x)[..., 0]
    np.testing.assert_array_equal(found[0, :, 3], 255)
    assert (found[0, :, [0, 1, 2, 4, 5, 6, 7]] == 0).all()
    assert (found[1] == 0).all()
    turned = outlines(x.transpose(0, 2, 1, 3))
    np.testing.assert_array_equal(turned[0, 3, :, 0], 255)


def test_a_blob_is_outlined_all_around():
    """Each ray from the middle of a smooth disc meets its outline within a pixel of its rim."""
    grid = np.hypot(*np.meshgrid(np.arange(32) - 15.5, np.arange(32) - 15.5))
    disc = (255 / (1 + np.exp(2 * (grid - 9)))).astype(np.uint8)[None, ..., None]
    rows, columns = np.nonzero(outlines(disc)[0, ..., 0])
    radius = np.hypot(rows - 15.5, columns - 15.5)
    assert np.abs(radius - 9).max() < 1.5
    angle = np.sort(np.arctan2(rows - 15.5, columns - 15.5))
    assert np.diff(angle, append=angle[0] + 2 * np.pi).max() < 0.35


def test_hues_and_grey_of_colours():
    x, y = np.full((5, 2, 2, 1), 255, np.uint8), np.arange(5)
    for k, pixel in enumerate(paint(x, y, 5)[:, 0, 0]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        assert (saturation, value) == (1, 1)
        assert hue == pytest.approx(k / 5, abs=2e-3)
    white = np.full((1, 1, 1, 3), 255, np.uint8)
    assert luma(white).item() == 255
    assert luma(white * np.array([0, 1, 0], np.uint8)).item() == 150  # 0.587 * 255


@pytest.mark.parametrize("kind", ["edges", "thick", "colour"])
def test_a_dataset_of_pairs(kind):
    base, made, spec = load("digits", "test"), load(f"{kind}:digits", "test"), None
    spec = describe(f"{kind}:digits")
    channels = 3 if kind == "colour" else 1
    assert (spec.kind, spec.shape, spec.num_classes) == ("images", (8, 16, channels), 10)
    np.testing.assert_array_equal(made["y"], base["y"])
    left, right = made["x"][:, :, :8], made["x"][:, :, 8:]
    image = left if kind in ("thick", "colour") else right
    np.testing.assert_array_equal(image, np.broadcast_to(base["x"], image.shape))
    assert (left != right).any((1, 2, 3)).all()
    assert not made["x"].flags.writeable


def test_domains_are_each_set_in_an_order_of_its_own():
    a = {"x": np.arange(50, dtype=np.uint8).reshape(-1, 1, 1, 1), "y": np.arange(50)}
    b = {"x": 100 + np.arange(60, dtype=np.uint8).reshape(-1, 1, 1, 1)}
    made = unpaired(("a", "b"), a, b)
    left, right = made["x"][:, 0, 0, 0], made["x"][:, 0, 1, 0]
    np.testing.assert_array_equal(np.sort(left), np.arange(50))
    np.testing.assert_array_equal(made["y"], left)
    assert len(set(right)) == 50
    assert right.min() >= 100
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.5  # 3.5 standard errors of independent orders
    again = unpaired(("a", "b"), a, b)
    np.testing.assert_array_equal(again["x"], made["x"])


@pytest.mark.parametrize(
    "name", ["edges:moons", "thick:digit", "domains:digits", "domains:digits+a", "colour:"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match="dataset="):
        load(name)


def test_sets_that_make_no_pairs_are_refused():
    with pytest.raises(DataError, match="labels"):
        load("colour:faces")
    with pytest.raises(DataError, match="differ in shape"):
        load("domains:digits+faces")
