"""Restoring images by a trained run: numbers, a picture, and what is refused in one line."""

import json

import numpy as np
import pytest

from experiments.shared.pictures import image_rows

SMALL = ("--num", 4, "--draws", 2, "--num-steps", 3)


@pytest.mark.parametrize("words", ["proximal", "ddrm", "replacement", "twisted_smc"])
def test_numbers_and_a_picture(command, digits_run, words):
    ended = command("restore", digits_run, "--solver", words, *SMALL)
    assert ended.code == 0, ended.err
    report = json.loads((digits_run / "restore.json").read_text())
    assert {"psnr_mean", "psnr_sample", "agreement", "label_accuracy"} <= report.keys()
    assert 0 < report["psnr_mean"]["value"] < 40
    assert (digits_run / "samples" / "restored.png").stat().st_size > 500


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--operator", "deblur"), "operator='deblur'"),
        (("--solver", "dpss"), "did you mean 'dps'"),
        (("--factor", 3, "--operator", "super_resolution"), "factor=3"),
        (("--operator", "colourisation"), "colours"),
        (("--operator", "blur", "--solver", "repaint"), "repaint"),
        (("--operator", "jpeg", "--solver", "null_space"), "linear"),
        (("--operator", "jpeg", "--solver", "twisted_smc"), "linear operator"),
        (("--noise-std", 0, "--solver", "dps"), "noise_std"),
        (("--noise-std", 0, "--solver", "twisted_smc"), "noise_std"),
        (("--hidden", 1), "hides all 8 rows"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(command, digits_run, words, message):
    ended = command("restore", digits_run, *words, *SMALL)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.strip().count("\n") == 0


@pytest.mark.parametrize("count", [4, 12, 20])
def test_rows_of_a_picture_are_as_long_as_there_are_images(count):
    """Fewer images than the picture has room for once ran on into the next row."""
    dark, bright = (np.full((count, 32, 32, 1), grey, np.uint8) for grey in (10, 200))
    grid = image_rows([dark, bright], 12)
    columns = min(count, 12)
    assert grid.shape[:2] == (2 * 33 + 1, columns * 33 + 1)
    inside = grid[..., 0] != 255
    assert {*grid[:33][inside[:33]].ravel()} == {10}
    assert {*grid[34:][inside[34:]].ravel()} == {200}
