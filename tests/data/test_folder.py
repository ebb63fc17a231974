"""A user's own images: order, classes, modes, and every kind of bad file by name."""

import os
import warnings

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


def test_images_beside_class_folders_are_named_and_skipped(tmp_path):
    write(tmp_path, ["a/0.png", "a/1.png", "b/0.png", "b/1.png"])
    clean = both(f"folder:{tmp_path}")
    write(tmp_path, ["aa.png", "logo.gif"], size=(9, 9))
    with pytest.warns(
        UserWarning, match=r"skipped 'aa.png', 'logo.gif' beside the class"
    ) as reported:
        data = both(f"folder:{tmp_path}")
    assert "\n" not in str(reported[0].message)
    for split in data:
        np.testing.assert_array_equal(data[split]["x"], clean[split]["x"])
        assert data[split]["y"].tolist() == [0, 1]


def test_one_sub_folder_is_no_class(tmp_path, recwarn):
    write(tmp_path, ["a/0.png", "a/1.png", "b.png"])
    assert len(load(f"folder:{tmp_path}")["x"]) == 2
    assert not [w for w in recwarn if w.category is UserWarning]


FORMATS = ["gif", "TIF", "avif", "jfif", "Jpe", "webp", "jp2", "ppm", "tga", "ico", "apng", "bmp"]
FORMATS += ["mpo"]


def test_classes_of_any_format_keep_their_numbers(tmp_path):
    """One folder for each format; none disappears and no label moves up."""
    write(
        tmp_path, [f"{i:02d}/{k}.{s}" for i, s in enumerate(FORMATS) for k in "ab"], size=(16, 16)
    )
    data = both(f"folder:{tmp_path}")
    for part in data.values():
        assert part["y"].tolist() == [*range(len(FORMATS))]


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), (0, level, 0)) for level in (200, 100, 50)]
    for name in ("a.gif", "b.tif", "c.webp", "d.png", "e.avif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    for part in both(f"folder:{tmp_path}").values():
        np.testing.assert_allclose(part["x"][..., 1], 200, atol=3)


def test_what_is_skipped_is_counted_and_named(tmp_path):
    write(tmp_path, [f"{c}/{i}.png" for c in "bd" for i in range(2)])
    for name in (
        "a/x.heic",
        "a/y.HEIC",
        "c/x.raw",
        "b/notes",
        "d/data.h5",
        "d/Thumbs.db",
        ".git/x",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"junk")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.warns(UserWarning, match="skipped") as caught:
        data = load(f"folder:{tmp_path}")
    (message,) = {str(warning.message) for warning in caught}
    assert "skipped 2 .heic, 1 .db, 1 .h5, 1 .raw, 1 without suffix;" in message
    assert "no image in 'a', 'c', 'empty'" in message
    assert ".git" not in message
    assert "\n" not in message
    assert data["y"].tolist() == [0, 1]


def test_a_folder_of_other_files_says_which(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.heic").write_bytes(b"junk")
    assert "3 .heic" in refused(f"folder:{tmp_path}")


COUNTS = {"many": 25, "one": 1, "two": 2, "ten": 10, "eleven": 11, "nine": 9}
HELD_OUT = {"many": 2, "one": 0, "two": 1, "ten": 1, "eleven": 1, "nine": 1}


def test_a_tenth_of_each_class_is_held_out(tmp_path):
    write(tmp_path, [f"{c}/{i:02d}.png" for c, n in COUNTS.items() for i in range(n)])
    data = both(f"folder:{tmp_path}")
    names = sorted(COUNTS)
    found = {split: np.bincount(part["y"], minlength=6) for split, part in data.items()}
    assert dict(zip(names, found["test"].tolist())) == HELD_OUT
    assert dict(zip(names, (found["train"] + found["test"]).tolist())) == COUNTS


def test_what_is_held_out_does_not_hang_on_other_classes(tmp_path):
    write(tmp_path, [f"b/{i:02d}.png" for i in range(13)] + [f"c/{i:02d}.png" for i in range(4)])
    before = both(f"folder:{tmp_path}")["test"]
    write(tmp_path, [f"a/{i:02d}.png" for i in range(7)])
    after = both(f"folder:{tmp_path}")["test"]
    np.testing.assert_array_equal(after["x"][after["y"] > 0], before["x"])


def test_classes_of_one_image_leave_nothing_to_test(tmp_path):
    write(tmp_path, [f"{c}/a.png" for c in "abc"])
    assert "no class of two images" in refused(f"folder:{tmp_path}")


def grey_palette(path):
    picture(7, mode="L").convert("P").save(path)


def dull_palette(path):
    """Colours in the palette, grey in the picture."""
    made = Image.fromarray(np.full((8, 8), 1, np.uint8), "P")
    made.putpalette([255, 0, 0, 9, 9, 9])
    made.save(path)


def grey_of_16_bits_and_alpha(path):
    picture(7, mode="LA").save(path)


def grey_in_colours(path):
    picture(7, mode="L").convert("RGB").save(path, lossless=True)


@pytest.mark.parametrize(
    ("add", "name"),
    [(grey_palette, "c.png"), (grey_palette, "c.gif"), (dull_palette, "c.png")]
    + [(grey_of_16_bits_and_alpha, "c.png"), (grey_in_colours, "c.webp")],
)
def test_a_grey_set_stays_grey(tmp_path, add, name):
    write(tmp_path, ["a.png", "b.png", "d.png"], mode="L")
    add(tmp_path / name)
    assert load(f"folder:{tmp_path}")["x"].shape == (3, 8, 8, 1)


def test_one_colour_makes_a_set_coloured(tmp_path):
    write(tmp_path, ["a.png", "b.png"], mode="L")
    made = Image.fromarray((np.arange(64) == 63).astype(np.uint8).reshape(8, 8), "P")
    made.putpalette([9, 9, 9, 10, 9, 9])
    made.save(tmp_path / "c.png")
    assert load(f"folder:{tmp_path}")["x"].shape == (2, 8, 8, 3)


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
    with pytest.warns(UserWarning, match=r"skipped 2 \.png that is no file, 1 \.txt; .*'loop'"):
        data = both(f"folder:{root}")  # an existing folder whose name ends in @8 is no SIZE
    assert sum(len(part["x"]) for part in data.values()) == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what was said is not said again
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

    monkeypatch.setattr(folder.picture, "read_pixels", decoded)
    text = refused(f"folder:{tmp_path}@64")
    assert "bomb.png" in text
    assert "12000 x 12000" in text
