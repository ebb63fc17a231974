"""Animations have the frames they were given, end on the last one, and are small."""

import numpy as np
import pytest
from PIL import Image

from gen_jax.errors import ConfigError
from gen_jax.plotting import image_animation, image_grid, line_animation, point_animation

RNG = np.random.default_rng(0)


def frames_of(path):
    with Image.open(path) as gif:
        frames, durations = [], []
        for index in range(gif.n_frames):
            gif.seek(index)
            frames.append(np.asarray(gif.convert("RGB")))
            durations.append(gif.info["duration"])
        return frames, durations, gif.info.get("loop")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_fade_in(tmp_path, channels):
    target = RNG.choice([0, 90, 180, 255], size=(6, 8, 8, channels))
    images = (np.linspace(0, 1, 12)[:, None, None, None, None] * target).astype(np.uint8)
    path = image_animation(tmp_path / "new" / "fade.gif", images, columns=3)
    frames, durations, loop = frames_of(path)
    assert len(frames) == 12
    assert loop == 0
    assert durations[-1] > 10 * durations[0]
    for shown, given in zip((frames[0], frames[-1]), (images[0], images[-1])):
        grid = np.broadcast_to(image_grid(given, columns=3), shown.shape)
        assert np.abs(shown.astype(int) - grid).max() <= 16  # 64 grey levels, 256 colours
    assert path.stat().st_size < 200_000


def test_long_paths_are_thinned_and_keep_their_ends(tmp_path):
    images = np.broadcast_to(
        np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1, 1), (100, 1, 4, 4, 1)
    )
    path = image_animation(tmp_path / "a.gif", images, max_frames=10)
    frames, *_ = frames_of(path)
    assert len(frames) == 10
    middle = [int(frame[frame.shape[0] // 2, frame.shape[1] // 2, 0]) for frame in frames]
    np.testing.assert_allclose(middle, np.linspace(0, 99, 10), atol=3)


def test_points_move(tmp_path):
    points = np.linspace(0, 1, 5)[:, None, None] * RNG.normal(size=(1, 100, 2)) + 0.01
    path = point_animation(tmp_path / "p.gif", points, times=np.linspace(1, 0, 5))
    frames, *_ = frames_of(path)
    assert len(frames) == 5
    blue = [np.sum(frame[..., 2].astype(int) - frame[..., 0] > 60) for frame in frames]
    assert blue[0] < blue[-1]
    assert (frames[0][0, 0] == 255).all()
    assert path.stat().st_size < 100_000


def test_mistakes_are_named(tmp_path):
    images = np.zeros((3, 2, 8, 8, 1), np.uint8)
    with pytest.raises(ConfigError, match=r"\.gif"):
        image_animation(tmp_path / "a.png", images)
    with pytest.raises(ConfigError, match="images is"):
        image_animation(tmp_path / "a.gif", images[0])
    with pytest.raises(ConfigError, match="max_frames"):
        image_animation(tmp_path / "a.gif", images, max_frames=1)
    with pytest.raises(ConfigError, match="points has shape"):
        point_animation(tmp_path / "a.gif", np.zeros((4, 2)))
    with pytest.raises(ConfigError, match="times has 2"):
        point_animation(tmp_path / "a.gif", np.zeros((3, 4, 2)), times=[0.0, 1.0])


def test_lines_move_and_still_ones_stay(tmp_path):
    x, t = np.linspace(-1, 1, 50), np.linspace(0, 1, 4)[:, None]
    panels = {"waves": {"still": np.cos(x), "moving": np.sin(x + t)}, "other": {"up": x * t}}
    path = line_animation(
        tmp_path / "a.gif", dict.fromkeys(panels, x), panels, ["a", "b", "c", "d"]
    )
    with Image.open(path) as picture:
        assert picture.n_frames == 4
        first = np.asarray(picture.convert("L"), int)
        picture.seek(3)
        assert np.abs(np.asarray(picture.convert("L"), int) - first).max() > 50


@pytest.mark.parametrize(
    ("curves", "captions", "message"),
    [
        ({"a": np.zeros((3, 5)), "b": np.zeros((2, 5))}, (), "frames"),
        ({"a": np.zeros(5)}, (), "frames"),
        ({"a": np.zeros((3, 5))}, ["x"], "captions"),
    ],
)
def test_lines_that_do_not_agree(tmp_path, curves, captions, message):
    with pytest.raises(ConfigError, match=message):
        line_animation(tmp_path / "a.gif", {"p": np.arange(5.0)}, {"p": curves}, captions)
