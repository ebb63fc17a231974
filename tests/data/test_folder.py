"""A user's own images: order, classes, modes, and every kind of bad file by name."""

import os

import numpy as np
import pytest
from PIL import Image

from gen_jax.data import describe, folder, load
from gen_jax.errors import DataError


def picture(seed, size=(8, 8), mode="RGB"):
    shape = size[::-1] if mode == "L" else (*size[::-1], len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def write(root, names, **options):
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i, **options).save(path)


def both(name):
    return {split: load(name, split) for split in ("train", "test")}


def refused(name):
    with pytest.raises(DataError) as caught:
        load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pixels_order_and_split(tmp_path):
    names = [f"{i:02d}.png" for i in range(25)]
    write(tmp_path, names[::-1])
    data = both(f"folder:{tmp_path}")
    everything = [np.asarray(Image.open(tmp_path / name)) for name in names]
    np.testing.assert_array_equal(data["test"]["x"], np.stack([everything[9], everything[19]]))
    kept = [image for i, image in enumerate(everything) if i % 10 != 9]
    np.testing.assert_array_equal(data["train"]["x"], np.stack(kept))
    assert "y" not in data["train"]
    spec = describe(f"folder:{tmp_path}")
    assert (spec.shape, spec.num_classes, spec.num_train, spec.num_test) == ((8, 8, 3), 0, 23, 2)


def test_two_images_are_one_each(tmp_path):
    write(tmp_path, ["a.png", "b.bmp"])
    assert [len(part["x"]) for part in both(f"folder:{tmp_path}").values()] == [1, 1]
    (tmp_path / "b.bmp").unlink()
    assert "one image" in refused(f"folder:{tmp_path}")


def test_subfolders_are_classes(tmp_path):
    write(tmp_path, [f"{c}/deep/{i:02d}.png" for c in ("zebra", "Ant", "é") for i in range(10)])
    data = both(f"folder:{tmp_path}")
    assert np.bincount(data["train"]["y"]).tolist() == [9, 9, 9]
    assert data["test"]["y"].tolist() == [0, 1, 2]  # byte order: Ant, zebra, é
    assert data["train"]["y"].dtype == np.int32
    assert describe(f"folder:{tmp_path}").num_classes == 3
    write(tmp_path, ["stray.png"])
    assert "y" not in load(f"folder:{tmp_path}")


def test_all_grey_has_one_channel(tmp_path):
    write(tmp_path, ["a.png", "b.jpg"], mode="L")
    wide = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(wide).save(tmp_path / "c.png")  # 16 bit
    Image.fromarray(np.eye(8) > 0).save(tmp_path / "d.png")  # 1 bit
    x = load(f"folder:{tmp_path}")["x"]
    assert x.shape == (3, 8, 8, 1)
    np.testing.assert_array_equal(x[2, ..., 0], wide >> 8)
    np.testing.assert_array_equal(
        load(f"folder:{tmp_path}", "test")["x"][0, ..., 0], 255 * np.eye(8)
    )


def test_mixed_modes_become_colour(tmp_path):
    write(tmp_path, ["a.png"], mode="L")
    write(tmp_path, ["b.png"], mode="RGBA")
    picture(3).convert("P").save(tmp_path / "c.png")
    picture(4).convert("CMYK").save(tmp_path / "d.jpg")
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "e.png")
    picture(5).save(tmp_path / "f.webp", lossless=True)
    data = both(f"folder:{tmp_path}")
    assert data["train"]["x"].shape == (5, 8, 8, 3)
    grey = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(data["train"]["x"][0], np.repeat(grey[..., None], 3, -1))
    assert (data["train"]["x"][4] == 40_000 >> 8).all()
    np.testing.assert_array_equal(data["test"]["x"][0], np.asarray(picture(5)))


def test_unequal_sizes_need_a_size(tmp_path):
    write(tmp_path, ["a.png", "b.png"], size=(12, 8))
    write(tmp_path, ["c.png"], size=(40, 60))
    text = refused(f"folder:{tmp_path}")
    assert "c.png" in text
    assert "folder:PATH@64" in text
    assert load(f"folder:{tmp_path}@16")["x"].shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(  # a crop without resizing is exact
        load(f"folder:{tmp_path}@8")["x"][0], np.asarray(Image.open(tmp_path / "a.png"))[:, 2:10]
    )


def test_rectangles_of_one_size_stay(tmp_path):
    write(tmp_path, ["a.png", "b.png"], size=(12, 8))
    assert load(f"folder:{tmp_path}")["x"].shape == (1, 8, 12, 3)


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6  # the camera was on its side
    picture(0, size=(8, 16)).save(tmp_path / "a.jpg", exif=exif)
    write(tmp_path, ["b.jpg"], size=(16, 8))
    assert load(f"folder:{tmp_path}")["x"].shape == (1, 8, 16, 3)


def test_odd_names_hidden_files_and_links(tmp_path):
    root = tmp_path / "with space@8"
    odd = ["new\nline.png", "ünï.PNG", "<b>&.png", "%s{0}.jpeg"]
    write(root, odd)
    with open(os.fsencode(root) + b"/\xff\xfe.png", "wb") as file:  # not UTF-8
        picture(9).save(file, "png")
    (root / ".hidden.png").write_bytes(b"junk")
    (root / "notes.txt").write_text("not an image")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "broken.png").symlink_to(root / "nowhere.png")
    os.mkfifo(root / "pipe.png")
    data = both(f"folder:{root}")  # an existing folder whose name ends in @8 is no SIZE
    assert sum(len(part["x"]) for part in data.values()) == 5
    assert len(folder.find_images(str(root))) == 5


def test_changed_folder_is_read_again(tmp_path):
    write(tmp_path, ["a.png", "b.png"])
    first = load(f"folder:{tmp_path}")["x"]
    picture(77).save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", (1, 1))
    assert not np.array_equal(load(f"folder:{tmp_path}")["x"], first)


def test_relative_paths_follow_the_working_folder(tmp_path, monkeypatch):
    for seed, name in enumerate(("one", "two")):
        write(tmp_path / name / "set", ["a.png", "b.png"], size=(8 + seed, 8))
    monkeypatch.chdir(tmp_path / "one")
    assert load("folder:set")["x"].shape[2] == 8
    monkeypatch.chdir(tmp_path / "two")
    assert load("folder:set")["x"].shape[2] == 9


def test_missing_and_empty_folders(tmp_path):
    assert "does not exist" in refused(f"folder:{tmp_path}/none")
    assert "no images" in refused(f"folder:{tmp_path}")
    (tmp_path / "file.png").write_bytes(b"")
    assert "not a folder" in refused(f"folder:{tmp_path}/file.png")


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "header"])
def test_an_unreadable_image_is_named(tmp_path, damage):
    write(tmp_path, ["a.png", "b.png"], size=(64, 64))
    bad = tmp_path / "b.png"
    content = bad.read_bytes()
    bad.write_bytes(
        {
            "empty": b"",
            "text": b"<html>404</html>",
            "truncated": content[: len(content) // 2],
            "header": content[:20],
        }[damage]
    )
    text = refused(f"folder:{tmp_path}")
    assert "b.png" in text
    assert "a.png" not in text
    assert damage != "empty" or "the file is empty" in text


def test_a_huge_image_is_refused_before_decoding(tmp_path, monkeypatch):
    write(tmp_path, ["a.png"])
    Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.png")  # 18 kB, 144 million pixels

    def decoded(*arguments):
        raise AssertionError("decoded")

    monkeypatch.setattr(folder, "_pixels", decoded)
    text = refused(f"folder:{tmp_path}@64")
    assert "bomb.png" in text
    assert "12000 x 12000" in text
