"""One file of every kind: which side is up, what lies behind it, how many bits it has."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from gen_jax.data import load, picture
from gen_jax.data.picture import read_image
from gen_jax.errors import DataError

MARK = np.zeros((16, 24), np.uint8)
MARK[:8, :6] = 255  # upper left corner


def turned(x, orientation):
    """What a camera writes that is to be shown as x (EXIF 2.3, 4.6.4 A: row 0, column 0 are)."""
    ways = {
        1: x,  # top, left
        2: x[:, ::-1],  # top, right
        3: x[::-1, ::-1],  # bottom, right
        4: x[::-1],  # bottom, left
        5: x.T,  # left, top
        6: x.T[::-1],  # right, top
        7: x.T[::-1, ::-1],  # right, bottom
        8: x.T[:, ::-1],  # left, bottom
    }
    return np.ascontiguousarray(ways[orientation])


def exif(orientation):
    made = Image.Exif()
    made[0x112] = orientation
    return made


def png(path, depth, kind, rows, *chunks):
    """A PNG written by hand: rows are bytes, chunks (name, content) stand before the pixels."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    width = len(rows[0]) * 8 // depth // {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    head = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = (chunk(b"IHDR", head), *(chunk(*c) for c in chunks), chunk(b"IDAT", pixels))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "mpo"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_turned_upright(tmp_path, suffix, orientation):
    path = tmp_path / f"a.{suffix}"
    stored = Image.fromarray(turned(MARK, orientation)).convert("RGB")
    several = {"save_all": True, "append_images": [stored.rotate(180)]} if suffix == "mpo" else {}
    stored.save(path, exif=exif(orientation), quality=95, **several)
    x = read_image(str(path)).astype(int)
    assert x.shape == (16, 24, 3)
    assert abs(x[..., 0] - MARK).mean() < 8


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_is_turned_upright(tmp_path, mode):
    path = tmp_path / "a.tif"
    stored = turned(MARK, 6)
    if mode == "I;16":
        made = Image.fromarray(stored.astype(np.uint16) * 257)
    else:
        made = Image.fromarray(stored).convert(mode)
    made.save(path, exif=exif(6))
    x = read_image(str(path))
    np.testing.assert_array_equal(x[..., 0], MARK)
    assert x.shape[-1] == (3 if mode in ("RGBA", "CMYK") else 1)


@pytest.mark.parametrize("where", ["before", "behind"])
def test_a_png_may_be_marked_behind_its_pixels(tmp_path, where):
    path, rows = tmp_path / "a.png", [bytes(row) for row in turned(MARK, 6)]
    tag = exif(6).tobytes()[6:]
    png(path, 8, 0, rows, *([(b"eXIf", tag)] if where == "before" else []))
    if where == "behind":
        content = path.read_bytes()
        body = b"eXIf" + tag
        added = struct.pack(">I", len(tag)) + body + struct.pack(">I", zlib.crc32(body))
        path.write_bytes(content[:-12] + added + content[-12:])
    np.testing.assert_array_equal(read_image(str(path))[..., 0], MARK)


def test_a_folder_compares_sizes_upright(tmp_path):
    for name, orientation in (("a.png", 1), ("b.webp", 6), ("c.png", 8)):
        stored = Image.fromarray(turned(MARK, orientation))
        stored.save(tmp_path / name, exif=exif(orientation), lossless=True)
    x = load(f"folder:{tmp_path}")["x"]
    np.testing.assert_array_equal(x[..., 0], [MARK, MARK])
    Image.fromarray(turned(MARK, 6)).save(tmp_path / "d.png")  # lies on its side, without a mark
    with pytest.raises(DataError, match="d.png"):
        load(f"folder:{tmp_path}")


def test_an_orientation_that_cannot_be_read_is_upright(tmp_path):
    path = tmp_path / "a.webp"
    Image.fromarray(MARK).save(path, exif=b"Exif\0\0II*\0junk", lossless=True)
    np.testing.assert_array_equal(read_image(str(path))[..., 0], MARK)


ALPHA = np.linspace(0, 255, 24).astype(np.uint8) * np.ones((16, 1), np.uint8)
HIDDEN = np.random.default_rng(0).integers(0, 256, (16, 24, 4), np.uint8)
HIDDEN[..., 3] = ALPHA


def over(colour, alpha, background):
    """c a + b (1 - a), a in [0, 1] (porter1984)."""
    a = alpha[..., None].astype(float) / 255
    return colour * a + np.asarray(background) * (1 - a)


@pytest.mark.parametrize(
    ("name", "background"),
    [("white", (255,) * 3), ("black", (0,) * 3), ("#ff8000", (255, 128, 0))],
)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_half_transparent_colours_lie_on_the_background(tmp_path, suffix, name, background):
    for stem in "ab":
        Image.fromarray(HIDDEN).save(tmp_path / f"{stem}.{suffix}", lossless=True, exact=True)
    word = "" if name == "white" else f"@{name}"
    x = load(f"folder:{tmp_path}{word}")["x"]
    expected = over(HIDDEN[..., :3], ALPHA, background)
    np.testing.assert_allclose(x[0], expected, atol=1)
    np.testing.assert_array_equal(load(f"folder:{tmp_path}@16{word}")["x"][0], x[0][:, 4:20])


def grey_and_alpha(path):
    Image.merge("LA", [Image.fromarray(HIDDEN[..., 0]), Image.fromarray(ALPHA)]).save(path)


def palette_of_bytes(path):
    made = Image.fromarray((np.arange(16 * 24) % 4).astype(np.uint8).reshape(16, 24), "P")
    made.putpalette([10, 10, 10, 90, 90, 90, 200, 200, 200, 30, 30, 30])
    made.save(path, transparency=bytes([255, 0, 128, 255]))


def palette_of_one(path):
    made = Image.fromarray((np.arange(16 * 24) % 4).astype(np.uint8).reshape(16, 24), "P")
    made.putpalette([10, 10, 10, 90, 90, 90, 200, 200, 200, 30, 30, 30])
    made.save(path, transparency=1)


def key(depth, kind, rows, transparent):
    return lambda path: png(path, depth, kind, rows, (b"tRNS", struct.pack(">H", transparent)))


TRANSPARENT = {
    "LA": (grey_and_alpha, over(HIDDEN[..., :1], ALPHA, 255)[..., 0]),
    "palette, alphas": (
        palette_of_bytes,
        np.array([10, 255, 200 * 128 / 255 + 127, 30])[np.arange(384) % 4].reshape(16, 24),
    ),
    "palette, one index": (
        palette_of_one,
        np.array([10, 255, 200, 30])[np.arange(384) % 4].reshape(16, 24),
    ),
    "1 bit": (key(1, 0, [bytes([0b10100000])], 1), [[255, 0, 255, 0, 0, 0, 0, 0]]),
    "1 bit, black": (key(1, 0, [bytes([0b10100000])], 0), [[255] * 8]),
    "4 bits": (key(4, 0, [bytes([0x12, 0x3F])], 3), [[17, 34, 255, 255]]),
    "8 bits": (key(8, 0, [bytes([5, 6, 7])], 6), [[5, 255, 7]]),
    "16 bits": (
        key(16, 0, [struct.pack(">4H", 5, 256 * 6, 256 * 7, 65535)], 256 * 6),
        [[0, 255, 7, 255]],
    ),
}


@pytest.mark.parametrize(
    "name", [*(f"{name}.png" for name in TRANSPARENT), "palette, one index.gif"]
)
def test_transparent_grey_stays_grey_and_is_white(tmp_path, name):
    path = tmp_path / name
    write, expected = TRANSPARENT[path.stem]
    write(path)
    x = read_image(str(path))
    assert x.shape[-1] == 1
    np.testing.assert_allclose(x[..., 0], expected, atol=1)


def test_grey_on_a_coloured_background_has_colours(tmp_path):
    path = tmp_path / "a.png"
    grey_and_alpha(path)
    x = load(f"file:{path}@8@#ff8000")["x"]
    assert x.shape[1:] == (8, 8, 3)
    assert (x[..., 0] != x[..., 2]).any()
    np.testing.assert_allclose(
        read_image(str(path), (255, 128, 0)), over(HIDDEN[..., :1], ALPHA, (255, 128, 0)), atol=1
    )


def test_a_transparent_colour_of_16_bits(tmp_path):
    path = tmp_path / "a.png"
    row = struct.pack(">6H", 256, 512, 768, 65535, 0, 0)
    png(path, 16, 2, [row], (b"tRNS", struct.pack(">3H", 256, 512, 768)))
    np.testing.assert_array_equal(read_image(str(path)), [[[255] * 3, [255, 0, 0]]])


RAMP = np.linspace(0, 1, 16 * 24).reshape(16, 24)


FEWER_BITS = pytest.mark.filterwarnings("ignore:grey files of 16 bits or more hold none above")


@FEWER_BITS
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_grey_of_many_bits_fills_the_range(tmp_path, bits, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.round(RAMP * (2**bits - 1)).astype(np.uint16)).save(path)
    x = read_image(str(path))
    np.testing.assert_allclose(x[..., 0], 255 * RAMP, atol=1)


@FEWER_BITS
@pytest.mark.parametrize(
    ("make", "top"),
    [
        (lambda x: Image.fromarray(x.astype(">u2")), 65535),  # I;16B
        (lambda x: Image.fromarray(x.astype(np.int32)), 4095),  # I
        (lambda x: Image.fromarray(x.astype(np.float32)), 1),  # F
        (lambda x: Image.fromarray(x.astype(np.float32)), 255),
        (lambda x: Image.fromarray(x.astype(np.float32)), 65535),
    ],
)
def test_other_modes_of_many_bits(tmp_path, make, top):
    path = tmp_path / "a.tif"
    make(RAMP * top).save(path)
    np.testing.assert_allclose(read_image(str(path))[..., 0], 255 * RAMP, atol=1)


@pytest.mark.parametrize(
    ("dtype", "top", "message"),
    [
        (np.float32, 1.0000001, ""),
        (np.float32, 255.0001, ""),
        (np.float32, 1.02, "1.02"),
        (np.float32, 2.0, "above 2"),
        (np.float32, 270.0, "above 270"),  # 255 that was resized, not 1023
        (np.float32, 1e5, "100000"),
        (np.float32, 3e38, "3e"),
        (np.int32, 1, "above 1,"),
        (np.int32, 65536, "65536"),
        (np.int32, 2**24, "1.67772e"),
        (np.int32, 2**31 - 1, "2.14748e"),
    ],
)
def test_levels_of_no_depth_fill_the_range(tmp_path, dtype, top, message):
    """What is brightest is white, alone and in a set, and one line says so."""
    ramp = np.round(RAMP) if top == 1 else RAMP
    for name in "ab":
        Image.fromarray((ramp * top).astype(dtype)).save(tmp_path / f"{name}.tif")
    one, many = str(tmp_path / "a.tif"), f"folder:{tmp_path}"
    for read in (lambda: read_image(one), lambda: load(many)["x"][0]):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            np.testing.assert_allclose(read()[..., 0], 255 * ramp, atol=1)
        reported = [str(w.message) for w in caught if "hold none above" in str(w.message)]
        assert len(reported) == bool(message)
        assert message in "".join(reported)


def test_dark_floats_keep_their_scale_and_say_so(tmp_path):
    Image.fromarray(np.full((8, 8), 0.01, np.float32)).save(tmp_path / "a.tif")
    with pytest.warns(UserWarning, match="0.01: read as 0 to 1"):
        assert read_image(str(tmp_path / "a.tif")).max() == 3


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_levels_that_mean_nothing_are_refused(tmp_path, value):
    path = tmp_path / "bad.tif"
    Image.fromarray(np.full((8, 8), value, np.float32)).save(path)
    with pytest.raises(DataError, match="bad.tif"):
        read_image(str(path))


def test_the_depth_is_that_of_the_set(tmp_path):
    dark, bright = (np.full((8, 8), v, np.uint16) for v in (400, 4000))
    Image.fromarray(dark).save(tmp_path / "a.png")
    Image.fromarray(bright).save(tmp_path / "b.png")
    with pytest.warns(UserWarning, match="12-bit"):
        x = [load(f"folder:{tmp_path}", split)["x"].max() for split in ("train", "test")]
    assert x == [400 >> 4, 4000 >> 4]


def test_colours_of_12_bits_in_16_are_refused(tmp_path):
    levels = np.round(RAMP * 4095).astype(">u2")
    rows = [np.repeat(row, 3).tobytes() for row in levels]
    for stem in "ab":
        png(tmp_path / f"{stem}.png", 16, 2, rows)
    with pytest.raises(DataError, match="8 bits per channel"):
        load(f"folder:{tmp_path}")
    with pytest.raises(DataError, match=r"a\.png"):
        read_image(str(tmp_path / "a.png"))


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_pixels_do_not_hide_that_colours_have_12_bits(tmp_path, channels):
    """What lies behind them, and what they hide, is bright; what can be seen is not."""
    levels = np.repeat(np.round(RAMP * 4095).astype(">u2")[..., None], channels, -1)
    levels[..., -1] = 65535
    levels[0, :5] = [65535] * (channels - 1) + [0]
    for stem in "ab":
        path = tmp_path / f"{stem}.png"
        png(path, 16, {2: 4, 4: 6}[channels], [row.tobytes() for row in levels])
        with pytest.raises(DataError, match="8 bits per channel"):
            read_image(str(path))
    with pytest.raises(DataError, match="8 bits per channel"):
        load(f"folder:{tmp_path}")


def test_black_on_transparent_of_16_bits_is_black_on_white(tmp_path):
    ink = np.stack([np.zeros_like(RAMP), np.round(RAMP * 65535)], -1).astype(">u2")
    png(tmp_path / "a.png", 16, 4, [row.tobytes() for row in ink])
    x = read_image(str(tmp_path / "a.png"))
    np.testing.assert_allclose(x[..., 0], 255 * (1 - RAMP), atol=1)


def test_names_with_sizes_and_colours():
    exists = lambda path: path in ("there@black", "there@8")
    split = lambda name: picture.split_name(name, exists)
    assert split("a") == ("a", None, (255, 255, 255))
    assert split("a@64@black") == split("a@black@64") == ("a", 64, (0, 0, 0))
    assert split("there@black") == ("there@black", None, (255, 255, 255))
    assert split("there@8@red") == ("there@8", None, (255, 0, 0))
    assert split("a@nothing")[0] == "a@nothing"
    for wrong in ("there@8@purpleish", "there@8@red@red", "there@8@8@9"):
        with pytest.raises(DataError, match=r"'\w+' in .* is neither SIZE nor COLOUR"):
            split(wrong)
