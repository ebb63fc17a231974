"""Patches of pictures and faces: what is in them, and what is said of a file that will not do."""

import os

import numpy as np
import pytest
from PIL import Image

from gen_jax.data import describe, load, textures
from gen_jax.errors import ConfigError, DataError


@pytest.mark.parametrize("name", textures.TEXTURES)
def test_patches_are_cut_from_two_parts_of_the_picture(name):
    picture = textures.read_picture(name)
    spec = describe(name)
    assert picture.shape == (512, 512, 1)
    assert spec.shape == (128, 128, 1)
    assert (spec.num_train, spec.num_test, spec.num_classes) == (13 * 9, 13, 0)
    train, test = load(name)["x"], load(name, "test")["x"]
    np.testing.assert_array_equal(train[0], picture[:128, :128])
    np.testing.assert_array_equal(train[9 + 2], picture[32:160, 64:192])
    np.testing.assert_array_equal(train[-1], picture[384:, 256:384])
    np.testing.assert_array_equal(test[1], picture[32:160, 384:])
    assert textures.read_picture(name) is picture  # read once, so nobody may change it
    with pytest.raises(ValueError, match="read-only"):
        picture[0] = 0


def test_faces():
    train, test = load("faces")["x"], load("faces", "test")["x"]
    assert train.shape == (80, 25, 25, 1)
    assert test.shape == (20, 25, 25, 1)
    assert train.dtype == np.uint8
    assert 50 < train.mean() < 200
    known = {row.tobytes() for row in train}
    assert not any(row.tobytes() in known for row in test)


@pytest.fixture
def picture(tmp_path):
    """A colour picture of 96 x 40 pixels in a file."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 96, 3), np.uint8)
    path = tmp_path / "a@b.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def test_a_picture_of_ones_own(picture):
    path, pixels = picture
    np.testing.assert_array_equal(textures.read_picture(f"file:{path}"), pixels)
    x = load(f"file:{path}")["x"]
    assert x.shape[1:] == (20, 20, 3)
    np.testing.assert_array_equal(x[0], pixels[:20, :20])
    assert load(f"file:{path}@16")["x"].shape[1:] == (16, 16, 3)
    test = load(f"file:{path}@40", "test")["x"]
    np.testing.assert_array_equal(test[0], pixels[:, 56:])


def test_a_picture_is_that_of_the_file_now(tmp_path, monkeypatch):
    """Of the working folder, and of the last change."""
    for folder, level in (("one", 10), ("two", 200)):
        (tmp_path / folder).mkdir()
        Image.new("L", (64, 64), level).save(tmp_path / folder / "a.png")
        monkeypatch.chdir(tmp_path / folder)
        assert load("file:a.png")["x"].max() == level
    Image.new("L", (64, 64), 90).save("a.png")
    os.utime("a.png", (1, 1))
    assert load("file:a.png")["x"].max() == 90


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("file:", DataError, "names no file"),
        ("file:PATH", ConfigError, "is a pattern"),
        ("file:nowhere.png", DataError, "'nowhere.png' does not exist"),
        ("file:{folder}", DataError, "is not a file"),
        ("file:{folder}/broken.png", DataError, "cannot be read"),
        ("file:{folder}/empty.png", DataError, "the file is empty"),
        ("file:{folder}/cut.png", DataError, "cannot be decoded"),
        ("file:{folder}/tiny.png", DataError, "20 x 12 pixels: too small for patches"),
        ("file:{picture}@49", DataError, "too small for patches of 49 x 49"),
        ("file:{picture}@4", ConfigError, "SIZE in file:PATH@SIZE=4"),
    ],
)
def test_what_will_not_do(tmp_path, picture, name, error, words):
    path, _ = picture
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:3000])
    Image.fromarray(np.zeros((12, 20), np.uint8)).save(tmp_path / "tiny.png")
    with pytest.raises(error, match=words):
        load(name.format(folder=tmp_path, picture=path))
