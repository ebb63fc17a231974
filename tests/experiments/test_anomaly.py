"""Scores of anomalies by trained runs, against data that certainly do not belong."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments.anomaly import scores
from experiments.shared import likelihoods, runner


@pytest.fixture(scope="module")
def digits(command, tmp_path_factory):
    """Two Gaussian models of digits, good and poor, and a folder of 8 x 8 noise."""
    folder = tmp_path_factory.mktemp("anomaly")
    for rank in (20, 1):
        words = ("--dataset", "digits", "--rank", rank, "--batch-size", 599)
        ended = command("pca", *words, "--directory", folder / f"rank{rank}")
        assert ended.code == 0, ended.err
    rng = np.random.default_rng(0)
    (folder / "noise").mkdir()
    for index in range(40):
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "noise" / f"{index}.png")
    return folder


def test_noise_is_told_from_digits(command, digits):
    against = f"folder:{digits / 'noise'}"
    words = ("--against", against, "--background", digits / "rank1", "--num", 100)
    ended = command("anomaly", digits / "rank20", *words)
    assert ended.code == 0, ended.err
    (path,) = (digits / "rank20").glob("anomaly_*.json")
    report = json.loads(path.read_text())
    names = {name.removeprefix("auroc_") for name in report if name.startswith("auroc_")}
    images = {"complexity", "classifier_energy", "classifier_softmax"}
    assert names == {"likelihood", "typicality", "likelihood_ratio"} | images
    assert report["auroc_likelihood"]["value"] > 0.99
    assert report["auroc_likelihood_ratio"]["value"] > 0.9
    assert report["bits_per_dim_inside"]["value"] < report["bits_per_dim_outside"]["value"]


def test_scores_are_what_they_say(digits, monkeypatch):
    """The ratio to itself is 0; typicality is the distance to the given mean; batches do not
    matter, nor a last one that is not full."""
    saved = runner.rebuild(digits / "rank20")
    noise = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 1), dtype=np.uint8)
    x = np.concatenate([noise, np.zeros_like(noise)])
    found = scores(saved, saved, 50.0, x)
    np.testing.assert_array_equal(found["likelihood_ratio"], 0)
    np.testing.assert_allclose(found["typicality"], np.abs(found["likelihood"] - 50))
    monkeypatch.setattr(likelihoods, "BATCH_SIZE", 5)
    nats = likelihoods.log_prob(saved, x)
    np.testing.assert_allclose(nats, -found["likelihood"], rtol=0.1)  # dequantised anew


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        (("--against", "8gaussians"), 3, "shape"),
        (("--against", "mnits"), 2, "against='mnits' is unknown; did you mean 'mnist'"),
        (("--against", "digits", "--num", 1), 2, "num"),
        (("--against", "digits", "--background", "nowhere"), 2, "nowhere"),
    ],
)
def test_refusals(command, digits, words, code, word):
    ended = command("anomaly", digits / "rank20", *words)
    assert ended.code == code
    assert word in ended.err
