"""Laws over DATASETS, and what is said when a set is not there."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gen_jax.data import DATASETS, PATTERNS, TOY, DatasetSpec, describe, load, textures
from gen_jax.errors import ConfigError, DataError, GenJaxError

TEXTS = ["genesis", "genesis_pairs"]
BUNDLED = [*TOY, "digits", "faces", "shapes", *textures.TEXTURES, *TEXTS]
DTYPES = {"points": "float32", "images": "uint8", "text": "int32"}
PREPARED = ["mnist", "fashion_mnist"]


def prepared(name):
    root = os.environ.get("TFDS_DATA_DIR")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"TFDS_DATA_DIR holds no {name}")


def need(name):
    if name not in BUNDLED:
        prepared(name)


@pytest.mark.parametrize("name", [*BUNDLED, *PREPARED])
def test_a_dataset_is_what_its_description_says(name):
    need(name)
    spec = describe(name)
    assert DatasetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert hash(spec) == hash(describe(name))
    for split, count in (("train", spec.num_train), ("test", spec.num_test)):
        data = load(name, split)
        assert data["x"].shape == (count, *spec.shape)
        assert str(data["x"].dtype) == spec.dtype == DTYPES[spec.kind]
        assert ("y" in data) == (spec.num_classes > 0)
        if "y" in data:
            assert data["y"].dtype == np.int32
            assert data["y"].shape == (count,)
            assert set(np.unique(data["y"])) == set(range(spec.num_classes))
    x = load(name)["x"].astype(np.float64)
    if spec.kind == "images":
        scaled = x / 127.5 - 1
        expected = scaled.mean(), scaled.std()
        assert np.ndim(spec.mean) == 0
        if name not in textures.TEXTURES:  # photographs need not reach black and white
            assert (x.min(), x.max()) == (0, 255)
    else:
        expected = (x.mean(0), x.std(0)) if spec.kind == "points" else (0, 1)
    np.testing.assert_allclose((spec.mean, spec.std), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", BUNDLED)
def test_train_and_test_share_nothing(name):
    train, test = (load(name, split)["x"] for split in ("train", "test"))
    if name in TOY:
        assert (len(train), len(test)) == (20_000, 10_000)
    known = {row.tobytes() for row in train}
    assert not any(row.tobytes() in known for row in test)


def test_arrays_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        load("digits")["x"][0] = 0
    changed = load("moons")
    changed["y"] = np.zeros(3)
    assert "y" not in load("moons")


def test_points_do_not_depend_on_float64_mode():
    code = (
        "import jax, sys; jax.config.update('jax_enable_x64', True);"
        "from gen_jax.data import load; sys.stdout.buffer.write(load('rings')['x'].tobytes())"
    )
    wide = subprocess.check_output([sys.executable, "-c", code])
    np.testing.assert_allclose(np.frombuffer(wide, np.float32), load("rings")["x"].ravel(), 1e-6)


def test_every_entry_has_one_line():
    for name, entry in DATASETS.items():
        assert entry.description, name
        assert "\n" not in entry.description
        assert entry.kind in DTYPES
        assert entry.num_classes is not None


@pytest.mark.parametrize(
    ("name", "split", "error", "words"),
    [
        ("mnistt", "train", ConfigError, "did you mean 'mnist'"),
        ("", "train", ConfigError, "folder:PATH"),
        ("digits", "valid", ConfigError, "train, test"),
        *((pattern, "train", ConfigError, "pattern") for pattern in PATTERNS),
        ("text:", "train", DataError, "no file"),
        ("text:book.txt", "train", DataError, "does not exist"),
        ("text:book.txt@9", "train", ConfigError, "VOCABULARY"),
        ("folder:", "train", DataError, "no folder"),
        ("folder:/nonexistent", "train", DataError, "does not exist"),
        ("folder:/tmp@2", "train", ConfigError, "SIZE"),
        ("tfds:../x", "train", ConfigError, "malformed"),
        ("tfds:mnist@2", "train", ConfigError, "SIZE"),
    ],
)
def test_wrong_names_are_one_line(name, split, error, words):
    with pytest.raises(error) as caught:
        load(name, split)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


ABSENT = [name for name in DATASETS if name not in BUNDLED]


@pytest.mark.parametrize("name", [*ABSENT, "tfds:imagenette"])
def test_a_set_that_is_not_there_says_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)  # without TensorFlow
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        load(name)
    assert time.monotonic() - started < 5
    text = str(caught.value)
    assert str(tmp_path) in text
    assert "gen_jax[prepare]" in text
    assert "TFDS_DATA_DIR" in text
    assert "\n" not in text


def test_a_description_with_odd_fields_is_refused():
    values = describe("digits").to_dict()
    with pytest.raises(DataError, match="extra"):
        DatasetSpec.from_dict(values | {"extra": 1})
    with pytest.raises(GenJaxError, match="num_train"):
        DatasetSpec.from_dict({k: v for k, v in values.items() if k != "num_train"})


def test_importing_data_is_light():
    code = (
        "import sys, gen_jax.data;"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'torch', 'sklearn', 'matplotlib', 'grain'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    assert subprocess.check_output([sys.executable, "-c", code]).strip() == b"[]"
