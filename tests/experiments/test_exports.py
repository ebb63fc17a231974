"""Samples for other programs: npz with labels, folders of pictures, and the name of a run."""

import csv

import numpy as np
import pytest
from PIL import Image

from experiments.shared.exports import picture_names
from experiments.shared.runner import default_directory

NUM = 100
"""Samples of a picture, so that one program draws them all."""


@pytest.fixture
def drawn(command, digits_run, tmp_path):
    """`drawn(output, *words)` -> the path that was written."""

    def run(output, *words):
        ended = command(
            "sample", digits_run, "--num", NUM, "--output", f"{tmp_path}/{output}", *words
        )
        assert ended.code == 0, ended.err
        return tmp_path / output

    return run


def loaded(path):
    """The arrays of a file, which is closed."""
    with np.load(path) as file:
        return {**file}


def test_arrays_have_labels_in_turn(drawn):
    found = loaded(drawn("a.npz"))
    assert sorted(found) == ["arr_0", "labels"]
    assert found["arr_0"].shape == (NUM, 8, 8, 1)
    assert found["labels"].dtype == np.int32
    assert found["labels"].tolist() == [i % 10 for i in range(NUM)]


def test_pictures_are_the_arrays_and_keep_their_labels(drawn):
    words = ("--label", 3, 5, 7)
    found, folder = loaded(drawn("a.npz", *words)), drawn("new/pictures/", *words)
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == picture_names(NUM)
    assert [int(row["label"]) for row in rows] == found["labels"].tolist()
    assert found["labels"][:4].tolist() == [3, 5, 7, 3]
    for i in (0, 1, NUM - 1):
        with Image.open(folder / rows[i]["file"]) as picture:
            assert np.array_equal(np.asarray(picture), found["arr_0"][i, :, :, 0])
    assert len(list(folder.iterdir())) == NUM + 1


def test_points_are_no_pictures(command, points_run, tmp_path):
    ended = command("sample", points_run, "--output", f"{tmp_path}/folder/")
    assert ended.code == 2
    assert "must end in one of: .png, .svg, .pdf, .npz\n" in ended.err


def test_names_sort_as_they_were_drawn():
    assert picture_names(1_000_001)[-1] == "1000000.png"
    assert picture_names(2) == ["000000.png", "000001.png"]


def test_another_seed_is_another_directory():
    assert default_directory("vae", "folder:a b") == "runs/vae-folder_a_b"
    assert default_directory("vae", "digits", 3) == "runs/vae-digits-seed3"
