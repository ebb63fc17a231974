"""The deep image prior's command: numbers beside a median filter and a prior, and refusals."""

import json

import pytest

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
