"""Classifiers trained on generated and on real images: planted sets of known worth."""

import numpy as np
import pytest
from flax import linen as nn

from gen_jax.metrics import downstream_accuracy


class Linear(nn.Module):
    """Logits of all pixels, and no features."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.reshape(len(x), -1)), None


SMALL = {"steps": 200, "network": Linear()}


def images(rng, labels):
    """Noise with a bright band of rows, where the label says."""
    x = rng.integers(0, 60, size=(len(labels), 6, 6, 1), dtype=np.uint8)
    for image, label in zip(x, labels):
        image[2 * label : 2 * label + 2] += 120
    return x


def labelled(rng, n):
    y = np.arange(n) % 3
    return images(rng, y), y


def test_equal_sets_are_equally_good_and_wrong_labels_are_worthless(key):
    """The same set twice gives the same classifier; labels of the next class give none right."""
    rng = np.random.default_rng(0)
    (x, y), test = labelled(rng, 120), labelled(rng, 90)
    same = downstream_accuracy(key, x, y, x, y, *test, 3, **SMALL)
    assert same.generated == same.real
    assert same.difference == (0, 0)
    assert same.real.value > 0.95
    wrong = downstream_accuracy(key, x, (y + 1) % 3, x, y, *test, 3, **SMALL)
    assert wrong.generated.value < 0.05
    assert wrong.difference.value == pytest.approx(wrong.generated.value - wrong.real.value)
    assert wrong.real == same.real


def test_a_larger_set_that_is_sorted_by_class_keeps_its_classes(key):
    """Its first rows would all be of one class."""
    rng = np.random.default_rng(2)
    (x, y), test, many = labelled(rng, 60), labelled(rng, 90), np.sort(np.arange(300) % 3)
    found = downstream_accuracy(key, x, y, images(rng, many), many, *test, 3, **SMALL)
    assert min(found.real.value, found.generated.value) > 0.9
    found = downstream_accuracy(key, images(rng, many), many, x, y, *test, 3, **SMALL)
    assert min(found.real.value, found.generated.value) > 0.9


def test_a_lost_class_costs_its_share(key):
    """Samples of two of three classes: a third of the test set cannot be right."""
    rng = np.random.default_rng(1)
    (x, y), test = labelled(rng, 120), labelled(rng, 300)
    kept = y < 2
    found = downstream_accuracy(key, x[kept], y[kept], x, y, *test, 3, **SMALL)
    assert found.generated.value == pytest.approx(2 / 3, abs=0.05)
    assert found.real.value > 0.95
