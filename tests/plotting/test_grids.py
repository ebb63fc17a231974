"""Grids put every pixel where it belongs; files read back as what was written."""

import numpy as np
import pytest
from PIL import Image

from gen_jax.errors import ConfigError
from gen_jax.plotting import image_grid, label_rows, save_image, to_image

RNG = np.random.default_rng(0)


def random_images(*shape):
    return RNG.integers(0, 255, size=shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("scale", "padding"), [(1, 1), (3, 0), (2, 4)])
def test_every_image_is_in_its_cell(channels, scale, padding):
    images = random_images(7, 4, 5, channels)
    grid = image_grid(images, columns=3, scale=scale, padding=padding)
    height, width = 4 * scale + padding, 5 * scale + padding
    assert grid.shape == (3 * height + padding, 3 * width + padding, channels)
    used = np.zeros(grid.shape[:2], bool)
    for index, image in enumerate(images):
        row, column = divmod(index, 3)
        top, left = row * height + padding, column * width + padding
        place = (slice(top, top + 4 * scale), slice(left, left + 5 * scale))
        np.testing.assert_array_equal(grid[place][::scale, ::scale], image)
        np.testing.assert_array_equal(grid[place][scale - 1 :: scale, scale - 1 :: scale], image)
        used[place] = True
    assert (grid[~used] == 255).all()


def test_defaults_make_a_square_of_enlarged_tiny_images():
    assert image_grid(random_images(9, 8, 8, 1)).shape == (100, 100, 1)
    assert image_grid(random_images(4, 40, 40, 3)).shape == (83, 83, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_files_read_back(tmp_path, channels):
    grid = image_grid(random_images(6, 8, 8, channels))
    path = save_image(tmp_path / "new" / "grid.png", grid)
    read = np.asarray(Image.open(path)).reshape(grid.shape)
    np.testing.assert_array_equal(read, grid)
    assert to_image(grid).size == grid.shape[1::-1]


def test_labels_stand_left_of_an_unchanged_grid():
    grid = image_grid(random_images(6, 8, 8, 1), columns=3)
    labelled = label_rows(grid, ["data", "samples"])
    strip = labelled.shape[1] - grid.shape[1]
    np.testing.assert_array_equal(labelled[:, strip:], np.repeat(grid, 3, -1))
    halves = np.array_split(labelled[:, :strip], 2)
    assert all((half < 128).any() for half in halves)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 1)),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((2, 8, 8, 2), np.uint8),
        np.zeros((0, 8, 8, 1), np.uint8),
    ],
)
def test_what_is_no_set_of_images_is_refused(images):
    with pytest.raises(ConfigError, match="images is"):
        image_grid(images)


def test_mistakes_are_named(tmp_path):
    images = random_images(2, 8, 8, 1)
    with pytest.raises(ConfigError, match="columns"):
        image_grid(images, columns=-1)
    with pytest.raises(ConfigError, match="padding"):
        image_grid(images, padding=-1)
    with pytest.raises(ConfigError, match=r"\.png"):
        save_image(tmp_path / "grid.jpg", images[0])
    with pytest.raises(ConfigError, match="labels"):
        label_rows(images[0], [])
