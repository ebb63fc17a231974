"""The count of images that are as asked: of real ones nearly all, of wrong captions few."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import text_gan
from experiments.shared.caption_checks import as_asked, asked, caption_picture
from experiments.shared.prompts import prompted
from gen_jax import conditions, data, metrics
from gen_jax.data import captions
from gen_jax.errors import ConfigError, DataError
from gen_jax.model import GenerativeModel


def test_real_images_are_as_their_captions_say_and_not_as_others():
    test, classifier = data.load("captions:digits", "test"), metrics.load_classifier("digits")
    right = as_asked(classifier, test["x"], test, test)
    assert min(estimate.value for estimate in right.values()) > 0.98
    turned = {name: np.roll(test[name], 1, axis=0) for name in ("y", "thick", "black")}
    wrong = as_asked(classifier, test["x"], turned, test)
    assert wrong["digit"].value < 0.3
    for name in ("ink", "strokes"):
        assert abs(wrong[name].value - 0.5) < 0.15


def test_what_is_asked_for_is_balanced():
    wanted = asked(160)
    assert (np.bincount(wanted["y"]) == 16).all()
    assert wanted["thick"].mean() == wanted["black"].mean() == 0.5
    assert len({tuple(row) for row in wanted["caption"]}) == 160
    said = captions.decode(wanted["caption"][27])
    thick, black = (int(wanted[name][27]) for name in ("thick", "black"))
    assert said == captions.sentence(7, thick, black)


def test_the_picture_has_a_row_per_kind(tmp_path):
    spec = data.describe("captions:digits")
    model = text_gan.build(text_gan.Config(widths=(2,), embedding=2, latent=2), spec)
    batch = {name: values[:2] for name, values in data.load("captions:digits").items()}
    state = jax.jit(model.init)(jax.random.key(0), batch)
    path = caption_picture(tmp_path, model, spec, state)
    assert path.stat().st_size > 500


def test_points_are_refused():
    with pytest.raises(ConfigError, match="no digits"):
        text_gan.build(text_gan.Config(dataset="8gaussians"))


def test_labels_stand_for_their_sentences():
    """A model whose images are its tokens: what it draws is a sentence of the label."""
    tokens = lambda key, state, n, *, caption, truncation: caption
    init = lambda key, batch: batch["caption"]
    step = lambda key, state, batch: (batch["caption"], {})
    table = captions.prompts()
    words = conditions.captions(len(captions.WORDS), captions.LENGTH)
    model = prompted(GenerativeModel(init, step, tokens), words, table)
    key, label = jax.random.key(0), jnp.arange(40) % 10
    drawn = np.asarray(model.sample(key, 0, 40, label=label))
    for row, digit in zip(drawn, np.asarray(label)):
        assert (row == table[digit]).all(1).any()
    assert len({tuple(row) for row in drawn}) > 20
    free = np.asarray(model.sample(key, 0, 100))
    assert len({tuple(row) for row in free} & {tuple(row) for row in table[:, 0]}) > 0
    np.testing.assert_array_equal(model.sample(key, 0, 2, caption=table[1:3, 0]), table[1:3, 0])
    batch = {"x": np.zeros((3, 1)), "y": np.array([4, 0, 9])}
    np.testing.assert_array_equal(model.init(key, batch), table[[4, 0, 9], 0])
    given = model.step(key, 0, {**batch, "caption": table[:3, 5]})[0]
    np.testing.assert_array_equal(given, table[:3, 5])
    with pytest.raises(ConfigError, match="not both"):
        model.sample(key, 0, 2, label=1, caption=table[1, 0])
    with pytest.raises(ConfigError, match="with captions, or with labels"):
        model.init(key, {"x": batch["x"]})
    with pytest.raises(DataError, match="'y'"):
        model.init(key, {**batch, "y": np.array([1, 2, 10])})
