"""Restoring by the latents of a trained VAE or GAN: numbers, a picture, refusals in one line."""

import json

import pytest

SMALL = ("--num", 4, "--restarts", 2, "--steps", 3, "--draws", 2)
TINY = ("--dataset", "digits", "--batch-size", 16, "--steps", 2)


@pytest.fixture(scope="module")
def runs(command, tmp_path_factory):
    """A VAE, and a GAN that sees labels."""
    folder = tmp_path_factory.mktemp("runs")
    words = {
        "vae": ("--hidden", 8, "--latent", 2),
        "gan": ("--conditional", "projection", "--widths", 8, 8, "--latent", 2),
    }
    for name, own in words.items():
        ended = command(name, *TINY, *own, "--directory", folder / name)
        assert ended.code == 0, ended.err
    return folder


@pytest.mark.parametrize(("name", "words"), [("vae", ("--langevin", 2)), ("gan", ())])
def test_numbers_and_a_picture(command, runs, name, words):
    ended = command("latent_search", runs / name, *SMALL, *words)
    assert ended.code == 0, ended.err
    report = json.loads((runs / name / "latent_search.json").read_text())
    assert {"psnr_mean", "agreement", "label_accuracy", "objective"} <= report.keys()
    assert report["objective"] <= report["objective_of_starts"]
    assert ("acceptance" in report) == bool(words)
    assert (runs / name / "samples" / "latent_search.png").stat().st_size > 500


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--operator", "deblur"), "operator='deblur'"),
        (("--restarts", 0), "restarts=0"),
        (("--factor", 3, "--operator", "super_resolution"), "factor=3"),
        (("--langevin", 2, "--noise-std", 0), "noise_std=0"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(command, coder_run, words, message):
    ended = command("latent_search", coder_run, *SMALL, *words)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.strip().count("\n") == 0


def test_starts_that_all_diverge_are_no_result(command, coder_run):
    """Numbers of a picture of zeros were written."""
    ended = command("latent_search", coder_run, *SMALL, "--learning-rate", "1e30")
    assert ended.code == 5
    assert "all 2 starts of an image diverged" in ended.err
    assert not (coder_run / "latent_search.json").exists()


def test_another_kind_of_run_is_refused(command, digits_run):
    ended = command("latent_search", digits_run, *SMALL)
    assert ended.code == 2
    assert "no GAN or VAE" in ended.err
