"""Digits, TFDS sets read without TensorFlow, and the cache of decoded sets."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gen_jax.data import cache, images, load, stream
from gen_jax.errors import DataError


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels = [255 * v // 16 + (255 * v % 16 >= 8) for v in range(17)]  # 255 v / 16 rounded
    pixels = np.array(levels, np.uint8)[bunch.images.astype(int)]
    rows = {(image.tobytes(), label) for image, label in zip(pixels, bunch.target.tolist())}
    parts = [load("digits", split) for split in ("train", "test")]
    seen = {(x.tobytes(), y) for part in parts for x, y in zip(part["x"], part["y"].tolist())}
    assert seen == rows
    assert sum(len(part["x"]) for part in parts) == len(bunch.target) == 1797
    share = [np.bincount(part["y"]) for part in parts]
    assert np.abs(share[0] - 2 * share[1]).max() <= 2  # two thirds of every class


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A private copy of the prepared MNIST test split, with an empty cache."""
    root = os.environ.get("TFDS_DATA_DIR")
    if not root or not (Path(root) / "mnist").is_dir():
        pytest.skip("TFDS_DATA_DIR holds no mnist")
    version = max((Path(root) / "mnist").iterdir())
    copy = tmp_path / "tfds" / "mnist" / version.name
    shutil.copytree(version, copy, ignore=shutil.ignore_patterns("*train*"))
    for path in (copy.parent, copy, *copy.iterdir()):
        path.chmod(0o755)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images._read_tfds.cache_clear()
    yield copy
    images._read_tfds.cache_clear()


def reload():
    images._read_tfds.cache_clear()
    return load("mnist", "test")


def test_mnist_is_decoded_once_and_the_cache_is_checked(mnist, monkeypatch, recwarn):
    first = load("mnist", "test")
    assert first["x"].shape == (10_000, 28, 28, 1)
    assert np.bincount(first["y"])[:3].tolist() == [980, 1135, 1032]  # published counts
    (file,) = cache.cache_folder().rglob("*.npz")
    assert [path for path in file.parent.iterdir() if path != file] == []
    again = reload()
    np.testing.assert_array_equal(again["x"], first["x"])
    np.testing.assert_array_equal(again["y"], first["y"])
    assert not [w for w in recwarn if w.category is UserWarning]

    whole = bytearray(file.read_bytes())
    flipped = whole.copy()
    flipped[len(whole) // 2] ^= 1
    for damage in (flipped, whole[: len(whole) // 2], b"", b"not a zip"):
        file.write_bytes(damage)
        with pytest.warns(UserWarning, match="made again"):
            np.testing.assert_array_equal(reload()["x"], first["x"])
        assert zipfile.ZipFile(file).testzip() is None

    np.savez(file, x=first["x"][:5], y=first["y"][:5])  # a whole file of the wrong content
    np.testing.assert_array_equal(reload()["x"], first["x"])


def test_records_by_index(mnist):
    source = images.ImageSource("mnist", "test")
    whole = load("mnist", "test")
    assert len(source) == 10_000
    np.testing.assert_array_equal(source[7]["x"], whole["x"][7])
    assert source[7]["y"] == whole["y"][7]
    streamed, in_memory = stream(source, 1, 16), stream(whole, 1, 16)
    for _ in range(3):
        a, b = next(streamed), next(in_memory)
        np.testing.assert_array_equal(a["x"], b["x"])
        np.testing.assert_array_equal(a["y"], b["y"])
    small = images.ImageSource("mnist", "test", size=14, transpose=True)[7]["x"]
    assert small.shape == (14, 14, 1)
    assert small.dtype == np.uint8


def test_any_prepared_set_by_its_name(mnist):
    a, b = load("tfds:mnist@28", "test"), load("mnist", "test")
    np.testing.assert_array_equal(a["x"], b["x"])
    np.testing.assert_array_equal(a["y"], b["y"])


def test_damaged_sets_are_one_line(mnist):
    (records,) = mnist.glob("*test*array_record*")
    content = records.read_bytes()
    for damage in (content[: len(content) // 2], b""):
        records.write_bytes(damage)
        with pytest.raises(DataError) as caught:
            reload()
        assert str(mnist) in str(caught.value)
        assert "\n" not in str(caught.value)
    records.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        reload()
    (mnist / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        reload()


def test_reading_is_silent_and_without_tensorflow(mnist):
    code = (
        "import sys; from gen_jax.data import load; load('mnist', 'test');"
        "assert not {'tensorflow', 'torch'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def numbers(calls):
    def make():
        calls.append(1)
        return {"x": np.arange(6).reshape(3, 2)}

    return make


def test_cache_makes_once_per_identity(cache_home):
    calls = []
    for identity in (("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")):
        arrays = cache.cached("set/config", identity, numbers(calls))
        np.testing.assert_array_equal(arrays["x"], np.arange(6).reshape(3, 2))
    assert len(calls) == 3


def test_cache_unpickles_nothing(cache_home):
    calls = []
    cache.cached("set", (), numbers(calls))
    (file,) = cache_home.rglob("*.npz")
    np.savez(file, x=np.array([{"an": "object"}], dtype=object))
    with pytest.warns(UserWarning, match="made again"):
        arrays = cache.cached("set", (), numbers(calls))
    assert arrays["x"].dtype != object


def test_cache_that_cannot_be_written_only_warns(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be cached"):
        arrays = cache.cached("set", (), numbers([]))
    assert arrays["x"].shape == (3, 2)


def test_interrupted_writing_leaves_no_file(cache_home, monkeypatch):
    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.warns(UserWarning, match="No space left"):
        cache.cached("set", (), numbers([]))
    assert [path for path in cache_home.rglob("*") if path.is_file()] == []
