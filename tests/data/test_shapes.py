"""Scenes are what their sentences say, by the pixels alone, and none that is held out is shown."""

from itertools import product

import numpy as np
import pytest

from gen_jax import data
from gen_jax.data import shapes
from gen_jax.errors import ConfigError, DataError


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("held_out", [False, True])
def test_every_attribute_is_read_from_the_pixels(side, held_out):
    rows = shapes.scenes(1500, 5, held_out=held_out)
    found = shapes.attributes(shapes.render(rows, side, 5))
    np.testing.assert_array_equal(found, shapes.canonical(rows))


def by_brute_force(kind, radius, x, y, side, fine=16):
    """The share of each pixel's fine x fine points inside a shape of which matplotlib knows the
    outline."""
    from matplotlib.path import Path

    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    outlines = {
        "circle": np.stack([np.cos(angles), np.sin(angles)], 1),
        "square": 0.9 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
        "triangle": np.array([(0, -1), (1, 1), (-1, 1)]),
    }
    line = (np.arange(side * fine) + 0.5) / fine
    points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    inside = Path(outlines[kind] * radius + (x, y)).contains_points(points)
    return inside.reshape(side, fine, side, fine).mean((1, 3))


@pytest.mark.parametrize("kind", shapes.SHAPES)
def test_pixels_are_as_bright_as_a_shape_covers_them(kind):
    """Two scenes differ in the colour of one object alone: what changes is its coverage."""
    shape = shapes.SHAPES.index(kind)
    rows = np.array([[1, colour, shape, 0, 0, 3, 0] for colour in range(2)])
    red, green = (shapes.render(rows[[c]], 32)[0].astype(float) / 255 for c in (0, 1))
    found = red[..., 0] - green[..., 0]
    mass = found.sum()
    area = {"circle": np.pi, "square": 4 * 0.81, "triangle": 2}[kind]
    radius = np.sqrt(mass / area)
    assert abs(radius / 6.4 - 1) < 0.08
    grid = np.arange(32) + 0.5
    x = (found * grid[None, :]).sum() / mass
    y = (found * grid[:, None]).sum() / mass - (radius / 3 if kind == "triangle" else 0)
    wanted = by_brute_force(kind, radius, x, y, 32)
    assert np.abs(found - wanted).max() < 0.25
    assert np.abs(found - wanted).sum() < 0.02 * mass


def test_the_relation_is_that_of_the_sentence():
    """The centres of the two colours, computed here, lie as the sentence says."""
    axis = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
    rows = shapes.scenes(300, 1)
    rows = rows[rows[:, 1] != rows[:, 5]]
    x = shapes.render(rows, 32, 1).astype(float)
    line = np.arange(32)
    for row, image in zip(rows, x):
        alike = [(np.abs(image - shapes.RGB[c]).max(-1) < 1).astype(float) for c in row[[1, 5]]]
        places = [((m * line).sum() / m.sum(), (m * line[:, None]).sum() / m.sum()) for m in alike]
        gap = np.subtract(*places)
        which, sign = axis[shapes.RELATIONS[row[3]]]
        assert gap[which] * sign > abs(gap[1 - which])


def test_held_out_pairs_are_in_no_split_and_all_else_is():
    held = {f"{shapes.COLOURS[c]} {shapes.SHAPES[s]}" for c, s in shapes.HELD_OUT}
    assert held == {"red triangle", "green circle", "blue square"}
    said = {}
    for split in ("train", "test"):
        tokens = data.load("shapes:16", split)["caption"]
        said[split] = [shapes.SENTENCES.decode(row) for row in tokens]
        assert not any(pair in text for text in said[split] for pair in held)
    others = {f"{c} {s}" for c, s in product(shapes.COLOURS, shapes.SHAPES)} - held
    for place in (slice(2, 4), slice(-2, None)):
        assert {" ".join(text.split()[place]) for text in said["train"]} == others
    asked = [shapes.sentence(row) for row in shapes.scenes(200, 0, held_out=True)]
    assert all(any(pair in text for pair in held) for text in asked)


def test_any_number_of_scenes_always_the_same():
    first = shapes.scenes(50, 3)
    np.testing.assert_array_equal(first, shapes.scenes(50, 3))
    assert not np.array_equal(first, shapes.scenes(50, 4))
    np.testing.assert_array_equal(shapes.render(first, 16, 1), shapes.render(first, 16, 1))
    assert not np.array_equal(shapes.render(first, 16, 1), shapes.render(first, 16, 2))
    assert shapes.scenes(20_000, 3).shape == (20_000, 7)


def test_a_sentence_has_every_attribute_and_can_be_read_back():
    row = np.array([1, 0, 0, 0, 0, 2, 1])
    assert shapes.sentence(row) == "a large red circle left of a small blue square"
    tokens = shapes.tokens(np.array([row]))[0]
    assert shapes.SENTENCES.decode(tokens) == shapes.sentence(row)
    turned = np.array([[0, 2, 1, 1, 1, 0, 0]])
    np.testing.assert_array_equal(shapes.canonical(turned), row[None])
    spec = data.describe("shapes:16")
    assert spec.shape == (16, 16, 3)
    assert spec.sentences == shapes.SENTENCES
    assert spec.sentences.condition.length == 10


def test_what_is_no_scene_is_told_as_none():
    rows = shapes.scenes(4, 0)
    x = shapes.render(rows, 32, 0)
    x[0] = 0  # nothing
    x[1, :, :] = np.maximum(x[1], shapes.render(rows[1:2, [4, 5, 6, 3, 0, 1, 2]], 32, 9)[0])
    x[2, 0, 0] = 255  # a speck is no object
    found = shapes.attributes(x)
    assert (found[0] == -1).all()
    np.testing.assert_array_equal(found[2:], shapes.canonical(rows)[2:])
    noise = np.random.default_rng(0).integers(0, 30, x.shape, np.uint8)
    np.testing.assert_array_equal(
        shapes.attributes(np.maximum(x, noise))[2:], shapes.canonical(rows)[2:]
    )
    assert (shapes.attributes(np.zeros((2, 16, 16, 3), np.uint8)) == -1).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [("a large red dog left of a small blue square", "['dog']"), ("a " * 11, "11 words")],
)
def test_sentences_that_cannot_be(text, words):
    with pytest.raises(DataError) as caught:
        shapes.SENTENCES.encode(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["shapes:8", "shapes:", "shapes:1000", "shapes:17", "shapes:x"])
def test_sizes_that_cannot_be(name):
    with pytest.raises(ConfigError, match="SIZE"):
        data.load(name)


def test_no_scenes_and_images_that_are_none():
    none = np.zeros((0, 7), np.int32)
    assert shapes.tokens(none).shape == (0, 10)
    assert shapes.attributes(shapes.render(none, 16)).shape == (0, 7)
    for side in (0, 1, 3, 12):
        with pytest.raises(DataError, match="multiple of 8 in .16, 256.") as caught:
            shapes.attributes(np.zeros((2, side, side, 3), np.uint8))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"rows is \[\[9, 0, 0, 0, 0, 0, 0\]\], must be"):
        shapes.tokens(np.array([[9, 0, 0, 0, 0, 0, 0]]))
    with pytest.raises(DataError, match=r"tokens are a list, must be integers \[L\] from 0"):
        shapes.SENTENCES.decode([99])
    assert data.Sentences.of(("", "b", "a"), 3).words == ("", "a", "b")


def test_sentences_go_through_json():
    again = data.Sentences.from_json(shapes.SENTENCES.to_json())
    assert again == shapes.SENTENCES
    for line in (
        "", "{}", '{"words": 3, "length": 2}', '{"words": [], "length": 2}',
        '{"words": ["", "a"], "length": -2}',
    ):  # fmt: skip
        with pytest.raises(DataError, match="no sentences"):
            data.Sentences.from_json(line)
