"""A file is the old one or the new one, never half; what it leads to is asked for first."""

from pathlib import Path

import numpy as np
import pytest

from experiments.shared.exports import write_arrays
from gen_jax import plotting, writing
from gen_jax.errors import CheckpointError
from gen_jax.writing import replacing, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail():
        with replacing(path) as file:
            assert (file.parent, file.suffix) == (tmp_path, ".png")
            file.write_text("half")
            assert path.read_text() == "old"
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.png"])
    with replacing(path) as file:
        file.write_text("new")
    assert (path.read_text(), names(tmp_path)) == ("new", ["a.png"])


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/there")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "there").read_text() == "text"
    assert names(tmp_path / "folder") == ["there"]


def test_a_guarded_folder_is_asked_first(tmp_path, monkeypatch):
    def refuse(folder):
        raise CheckpointError(f"{folder} is another")

    monkeypatch.setitem(writing.GUARDED, tmp_path, refuse)
    (tmp_path / "b").mkdir()
    with pytest.raises(CheckpointError, match=f"{tmp_path} is another"):
        write_text(tmp_path / "b" / "a", "text")
    assert names(tmp_path / "b") == []


def test_arrays_and_pictures_are_written_in_one_piece(tmp_path, monkeypatch):
    """A disk that fills up in the middle of either costs the new file alone."""
    from matplotlib.figure import Figure
    from PIL import Image

    def half(self, file, *given, **options):
        Path(file).write_bytes(b"half")
        raise OSError("full")

    paths = [tmp_path / name for name in ("a.npz", "b.png", "c.png", "d.gif")]
    for path in paths:
        path.write_text("old")
    monkeypatch.setattr(np, "savez_compressed", lambda file, **arrays: half(None, file))
    monkeypatch.setattr(Image.Image, "save", half)
    monkeypatch.setattr(Figure, "savefig", half)
    images = np.zeros((2, 3, 8, 8, 1), np.uint8)
    for path, write in zip(
        paths,
        (
            lambda path: write_arrays(path, images[0], None),
            lambda path: plotting.save_image(path, images[0, 0]),
            lambda path: plotting.save(Figure(), path),
            lambda path: plotting.image_animation(path, images),
        ),
    ):
        with pytest.raises(OSError, match="full"):
            write(path)
        assert path.read_text() == "old", path
    assert names(tmp_path) == ["a.npz", "b.png", "c.png", "d.gif"]
