"""The deep image prior's command: numbers beside a median filter and a prior, and refusals."""

import json

import numpy as np
import pytest

from gen_jax.inverse import Fitted

SMALL = ("--num", 2, "--steps", 60)


@pytest.mark.slow
def test_numbers_and_pictures(command, digits_run, tmp_path):
    words = (*SMALL, "--prior", digits_run, "--directory", tmp_path)
    ended = command("deep_image_prior", *words)
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "deep_image_prior.json").read_text())
    guesses = {"noisy", "median", "stop", "end", "ddrm_mean", "ddrm_sample"}
    assert {f"psnr_{name}" for name in guesses} <= report.keys()
    # 0.3 of [-1, 1] in dB, clipped to the range.
    assert 16 < report["psnr_noisy"]["value"] < 20
    assert report["mse_best"]["value"] <= report["mse_stop"]["value"]
    assert report["mse_noisy"]["value"] == pytest.approx(0.09, rel=0.4)
    assert all(49 <= stop < 60 for stop in report["stop"])
    for name in ("curves.png", "denoised.png"):
        assert (tmp_path / name).stat().st_size > 500


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--dataset", "8gaussians"), "no set of images"),
        (("--num", 1), "num=1"),
        (("--noise-std", 0), "noise_std=0"),
        (("--steps", 50), "steps=50"),
        (("--prior", "nowhere"), "holds no run"),
        (("--directory", "/proc/none"), "directory="),
    ],
)
def test_refusals(command, monkeypatch, tmp_path, words, message):
    """All of them before any image is fitted."""
    monkeypatch.setattr("experiments.deep_image_prior.fitted", None)
    ended = command("deep_image_prior", *SMALL, "--directory", tmp_path, *words)
    assert ended.code in (2, 6)
    assert message in ended.err
    assert ended.err.strip().count("\n") == 0


def test_a_fit_that_diverges_is_named(command, monkeypatch, tmp_path):
    """It ended in a line about "values" of the picture, as if the data were at fault."""
    images, curve = np.zeros((2, 8, 8, 1)), np.full((2, 60), np.nan)
    gone = Fitted(images, images, np.zeros(2, int), curve, curve, curve)
    monkeypatch.setattr("experiments.deep_image_prior.fitted", lambda *_: gone)
    ended = command("deep_image_prior", *SMALL, "--directory", tmp_path, "--learning-rate", 9)
    assert ended.code == 5
    assert "a fit diverged: learning_rate=9 is too large" in ended.err
