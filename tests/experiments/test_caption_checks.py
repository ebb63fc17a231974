"""The count of images that are as asked: of real ones nearly all, of wrong captions few."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import diffusion, flow_matching, text_gan, text_to_image
from experiments.shared import code_report
from experiments.shared.asked import condition_of
from experiments.shared.caption_checks import (
    SUBJECTS,
    asked,
    caption_picture,
    digits_as_asked,
    measure,
)
from experiments.shared.pictures import balanced
from experiments.shared.prompts import prompted
from experiments.shared.registry import Saved
from gen_jax import data
from gen_jax.data import captions, shapes
from gen_jax.errors import ConfigError, DataError
from gen_jax.model import GenerativeModel


def test_real_images_are_as_their_captions_say_and_not_as_others():
    test = data.load("captions:digits", "test")
    right = digits_as_asked("captions:digits", test["x"], test, test)
    assert min(estimate.value for estimate in right.values()) > 0.98
    turned = {name: np.roll(test[name], 1, axis=0) for name in ("y", "thick", "black")}
    wrong = digits_as_asked("captions:digits", test["x"], turned, test)
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
    tokens = lambda key, state, n, *, caption: caption
    init = lambda key, batch: batch["caption"]
    step = lambda key, state, batch: (batch["caption"], {})
    table = captions.prompts()
    model = prompted(GenerativeModel(init, step, tokens), captions.SENTENCES.condition, table)
    assert [*model.conditions] == ["label", "caption"]
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


def test_scenes_are_judged_by_their_pixels():
    """Drawn ones are all as asked; of those in other colours every attribute but the colour is."""
    test, n = shapes.scenes(20, 1), 30
    real = {"x": shapes.render(test, 16), "scene": test}
    wanted = SUBJECTS["shapes"].asked(n)["scene"]
    unseen = lambda tokens: shapes.render(shapes.scenes(n, 2, held_out=True), 16)
    found = measure("shapes:16", shapes.render(wanted, 16), real, unseen)
    assert len(found) == 15
    assert all(share.value == 1 for share in found.values())
    other = wanted.copy()
    other[:, [1, 5]] = (other[:, [1, 5]] + 1) % len(shapes.COLOURS)
    wrong = measure("shapes:16", shapes.render(other, 16), real, unseen)
    assert wrong["colour_as_asked"].value == wrong["all_as_asked"].value == 0
    assert all(wrong[f"{word}_as_asked"].value == 1 for word in ("size", "shape", "relation"))
    assert measure("digits", real["x"], real, unseen) == {}


def saved_of(spec, *names):
    """A run whose model takes these, and draws nothing."""
    nothing = GenerativeModel(
        lambda key, batch: 0, lambda *_: 0, lambda *_: 0, conditions=dict.fromkeys(names, "static")
    )
    return Saved("diffusion", Path("run"), None, spec, nothing, 0, 1)


def test_prompts_become_what_the_model_takes():
    saved = saved_of(data.describe("shapes:16"), "caption")
    text = "a large red circle left of a small blue square"
    found = condition_of((), text, saved, 3)
    np.testing.assert_array_equal(found["caption"], shapes.SENTENCES.encode(text))
    assert condition_of((), None, saved, 3) == {}
    reported = balanced(saved.model, saved.spec, 3)["caption"]
    np.testing.assert_array_equal(reported, shapes.tokens(SUBJECTS["shapes"].asked(3)["scene"]))
    digits = saved_of(data.describe("digits"), "label", "caption")
    found = condition_of((), "a thin two in white", digits, 3)
    np.testing.assert_array_equal(found["caption"], captions.prompts()[2, 0])


@pytest.mark.parametrize(
    ("dataset", "names", "words", "message"),
    [
        ("shapes:16", ["caption"], {"prompt": "a large red dog"}, "unknown words ['dog']"),
        ("shapes:16", ["caption"], {"prompt": "a " * 11}, "11 words (at most 10)"),
        ("digits", ["label"], {"prompt": "a thin two"}, "takes none"),
        ("digits", ["label", "caption"], {"prompt": "two", "label": (2,)}, "give one of them"),
    ],
)
def test_wrong_prompts_are_one_line(dataset, names, words, message):
    saved = saved_of(data.describe(dataset), *names)
    with pytest.raises((ConfigError, DataError)) as caught:
        condition_of(words.get("label", ()), words["prompt"], saved, 4)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dataset", ["captions:digits", "shapes:16"])
@pytest.mark.parametrize("script", [diffusion, flow_matching])
def test_a_set_with_captions_gives_models_of_captions(script, dataset):
    """The condition is the sentence, hidden ones are empty, and the network attends to words."""
    spec = data.describe(dataset)
    model = script.build(script.Config(dataset=dataset), spec)
    assert "caption" in model.conditions
    assert "label" not in model.conditions
    condition = model.parts.options.condition
    assert condition == spec.sentences.condition
    assert not np.asarray(condition.null(2)).any()
    assert type(model.parts.network).__name__ == "DiT"
    assert model.parts.network.condition == condition


@pytest.mark.parametrize("model", ["tokens", "pixels"])
def test_text_to_image_takes_labels_where_there_are_no_captions(model):
    """On digits without captions a label stands for its sentence; elsewhere there is none."""
    config = text_to_image.Config(dataset="digits", model=model)
    names = text_to_image.build(config, data.describe("digits")).conditions
    assert {"label", "caption"} <= names.keys()
    config = text_to_image.Config(dataset="captions:digits", model=model)
    names = text_to_image.build(config, data.describe("captions:digits")).conditions
    assert ("label" in names, "caption" in names) == (False, True)
    for dataset in ("faces", "moons"):
        with pytest.raises(ConfigError, match="neither captions nor digits") as caught:
            text_to_image.build(
                text_to_image.Config(dataset=dataset, model=model), data.describe(dataset)
            )
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_codes_without_a_sentence_are_measured_where_training_hid_some(monkeypatch, dropout):
    """A prior that refuses to go without one does not end the evaluation."""

    def log_prob(key, state, codes, caption=None):
        if caption is None and dropout == 0:
            raise ConfigError("caption is needed")
        return np.arange(len(codes)) * (1.0 if caption is None else 2.0)

    parts = SimpleNamespace(prior=SimpleNamespace(log_prob=log_prob))
    monkeypatch.setattr(code_report, "parts_of", lambda *_: (parts, SimpleNamespace(prior=None)))
    monkeypatch.setattr(code_report.vae, "encode_codes", lambda model, state, x: x)
    monkeypatch.setattr(code_report.vae, "to_sequence", lambda codes: codes)
    monkeypatch.setattr(code_report, "measure_test", lambda *_: {})
    config = SimpleNamespace(model="tokens", label_dropout=dropout)
    saved: Any = SimpleNamespace(config=config, model=None, state=None)
    test = {"x": np.zeros((5, 3), np.int32), "caption": np.zeros((5, 2), np.int32)}
    found = code_report.codes_of_sentences(saved, test, 10)
    assert found["log_prob_codes_given_text"].value == 4
    assert ("log_prob_codes" in found) == (dropout > 0)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["captions:digits", "shapes:16"])
def test_whole_life_of_captions(command, small, tmp_path, monkeypatch, dataset):
    """A diffusion model of sentences: trained, resumed, sampled by a prompt, measured."""
    monkeypatch.chdir(tmp_path)

    def ok(*words):
        ended = command(*words)
        assert ended.code == 0, ended.err
        return ended

    words = ("--dataset", dataset, *small, "--directory", "run")
    ok("diffusion", *words, "--steps", 2)
    assert Path("run/samples/captions.png").stat().st_size > 500
    subject = SUBJECTS[dataset.partition(":")[0] + ":" if "digits" in dataset else "shapes"]
    spec = data.describe(dataset)
    prompt = spec.sentences.decode(subject.asked(1)["caption"][0])
    draw = lambda file, *more: ok("sample", "run", "--num", 4, "--output", file, *more)
    draw("a.npz", "--prompt", prompt, "--guidance", 2)
    assert np.load("a.npz")["arr_0"].shape == (4, *spec.shape)
    ended = command("sample", "run", "--prompt", "a purple cow")
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    ok("evaluate", "run", "--num", 20, "--likelihood", 0)
    report = json.loads(Path("run/evaluation.json").read_text())
    measured = [name for name in report if "_as_asked" in name]
    assert len(measured) == (6 if "digits" in dataset else 15)
