"""Imputation by a small VAE, from its run to numbers and a picture; which labels are kept."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import few_labels, imputation


@pytest.fixture(scope="module")
def run(command, tmp_path_factory):
    """A VAE of binary digits, hardly trained."""
    folder = tmp_path_factory.mktemp("imputation") / "run"
    small = ("--dataset", "binarized:digits", "--hidden", 16, "--steps", 2, "--batch-size", 16)
    ended = command("vae", *small, "--directory", folder)
    assert ended.code == 0, ended.err
    return folder


def test_numbers_and_a_picture(command, run):
    words = ("--num", 20, "--chains", 2, "--rounds", 3, "--hide", "pixels")
    ended = command("imputation", run, *words)
    assert ended.code == 0, ended.err
    report = json.loads((run / "imputation.json").read_text())
    for name in ("vae", "one_chain", "mean_image"):
        assert 0 < report[f"rmse_{name}"]["standard_error"] < report[f"rmse_{name}"]["value"] < 255
    with Image.open(run / "samples" / "imputation.png") as picture:
        # Five rows of 8 x 8 digits, enlarged four times, one white pixel between.
        assert picture.size[1] == 5 * (32 + 1) + 1


def test_the_error_is_of_hidden_pixels_alone():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (6, 4, 4, 1), np.uint8)
    config = imputation.Config("run", hide="lower")
    hidden = ~imputation.seen_pixels(config, x.shape)
    assert (hidden == (np.arange(4) >= 2)[:, None, None]).all()
    guess = x + rng.normal(size=x.shape) + np.where(hidden, 0, 50)
    value, error = imputation.error_of(guess, x, hidden)
    assert value == pytest.approx(np.sqrt(np.mean((guess - x)[:, 2:] ** 2)))
    assert error < value


def test_as_many_labels_of_each_class():
    y = np.random.default_rng(0).integers(0, 3, 200)
    rows = few_labels.labelled(few_labels.Config(labels=12), y, 3)
    np.testing.assert_array_equal(np.bincount(y[rows]), [4, 4, 4])
    other = few_labels.labelled(few_labels.Config(labels=12, seed=1), y, 3)
    assert not np.array_equal(rows, other)
