"""A library of an extra that is missing costs one line that names the extra."""

import sys

import pytest

from gen_jax import data
from gen_jax.errors import DataError
from gen_jax.training import events


@pytest.mark.parametrize(
    ("module", "dataset", "extra"),
    [
        ("skimage.data", "faces", "images"),
        ("skimage.data", "brick", "images"),
        ("tensorflow_datasets", "mnist", "images"),
    ],
)
def test_missing_library_is_one_line(module, dataset, extra, monkeypatch, tmp_path):
    prepared = tmp_path / "mnist" / "1.0.0"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    data.textures.read_faces.cache_clear()
    data.textures._read.cache_clear()
    with pytest.raises(DataError) as caught:
        data.load(dataset, "train")
    assert f"pip install 'gen_jax[{extra}]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_run_goes_on_without_tensorboard(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    log = events.opened(tmp_path / "tensorboard", 0)
    log.write(1, {"loss": 0.0})
    log.close()
    assert "gen_jax[tensorboard]" in capsys.readouterr().err
    assert not (tmp_path / "tensorboard").exists()
