"""Captions of digits say what is to be seen."""

import numpy as np
import pytest

from gen_jax import data
from gen_jax.data import captions
from gen_jax.errors import ConfigError, DataError


@pytest.mark.parametrize("split", ["train", "test"])
def test_captions_say_what_the_images_show(split):
    """Read back word by word; ink from the mean grey, strokes from the images before."""
    made, plain = (data.load(name, split) for name in ("captions:digits", "digits"))
    np.testing.assert_array_equal(made["y"], plain["y"])
    for row in range(0, len(made["x"]), 40):
        words = captions.decode(made["caption"][row]).split()
        digit = [w for w in words if w in captions.DIGITS]
        assert digit == [captions.DIGITS[plain["y"][row]]]
        x = made["x"][row].astype(int)
        x = 255 - x if "black" in words else x
        assert ("black" in words) != ("white" in words)
        assert np.array_equal(x, plain["x"][row]) == ("thin" in words)
        assert (x >= plain["x"][row]).all()
    share = len(made["x"]) ** -0.5 / 2
    for flag in ("thick", "black"):
        assert abs(made[flag].mean() - 0.5) < 5 * share


def test_every_sentence_can_be_read_back():
    every = [(d, t, b, k) for d in range(10) for t in (0, 1) for b in (0, 1) for k in range(4)]
    tokens = [captions.encode(captions.sentence(*row)) for row in every]
    assert len({tuple(row) for row in tokens}) == len(every)
    for row, made in zip(every, tokens):
        assert captions.decode(made) == captions.sentence(*row)
        assert made.shape == (captions.LENGTH,)
    prompts = captions.prompts()
    assert captions.decode(prompts[7, 0]) == "a thin seven in white"
    np.testing.assert_array_equal(captions.prompts(every=False), prompts[:, :1])
    assert {tuple(row) for row in prompts.reshape(-1, captions.LENGTH)} == set(map(tuple, tokens))


def test_captions_are_the_same_every_time():
    again = captions.make(data.load("digits", "test"), 1)
    np.testing.assert_array_equal(again["x"], data.load("captions:digits", "test")["x"])
    other = captions.make(data.load("digits", "test"), 0)
    assert not np.array_equal(again["caption"], other["caption"])


def test_refusals():
    with pytest.raises(DataError, match="unknown words \\['dog'\\]"):
        captions.encode("a thick dog")
    with pytest.raises(DataError, match="9 words"):
        captions.encode("a a a a a a a a a")
    with pytest.raises(ConfigError, match="grey digits"):
        data.load("captions:faces")
    with pytest.raises(ConfigError, match="captions:fashion_mnist.* grey digits"):
        data.describe("captions:fashion_mnist")
    assert captions.are_digits("folder:digits", 10)
    assert not captions.are_digits("edges:kmnist", 10)
    with pytest.raises(ConfigError, match="8gaussians"):
        data.load("captions:8gaussians")
