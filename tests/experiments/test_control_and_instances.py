"""Control by outlines, instances from few images: what they report, and what they refuse."""

from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from PIL import Image

from experiments import control, personalise
from experiments.shared import asked, control_report, instances, runner
from gen_jax import data, diffusion
from gen_jax.errors import ConfigError

SMALL = ("--batch-size", 16, "--steps", 3)
DIT = ("--network.name", "dit", "--network.width", 16, "--network.depth", 1, "--sampling-steps", 4)


def test_agreement_of_pixels_by_hand():
    line = np.zeros((4, 8, 8, 1), np.uint8)
    line[:, 2:6, 3] = 255
    other = line.copy()
    other[1] = np.roll(line[1], 1, 1)  # beside it
    other[2, 4:] = 0  # half of it: precision 1, recall 1/2
    other[3, 2:6, 4] = 255  # twice as wide: precision 1/2, recall 1
    found = control_report.agreement(line, other)
    np.testing.assert_allclose(found, [1, 0, 2 / 3, 2 / 3])
    empty = np.zeros_like(line)
    np.testing.assert_allclose(control_report.agreement(empty, empty), 1)
    np.testing.assert_allclose(control_report.agreement(line, empty), 0)


def test_instances_are_of_the_class_and_mirrored():
    config = personalise.Config(label=2)
    images = instances.instances_of(config)
    test = data.load("digits", "test")
    twos = test["x"][test["y"] == 2]
    assert images.shape == (5, 8, 8, 1)
    assert all((twos == image).all((1, 2, 3)).any() for image in images)
    mirrored = instances.instances_of(personalise.Config(label=2, mirrored=True))
    np.testing.assert_array_equal(mirrored, images[:, :, ::-1])
    with pytest.raises(ConfigError, match="label=10"):
        instances.instances_of(personalise.Config(label=10))
    with pytest.raises(ConfigError, match="have shape"):
        instances.instances_of(personalise.Config(instances="edges:digits"))


def test_likeness_is_the_mean_cosine():
    a, b = np.array([[1.0, 0.0], [3.0, 3.0]]), np.array([[0.0, 2.0], [5.0, 0.0]])
    np.testing.assert_allclose(instances.likeness(a, b), [0.5, np.sqrt(0.5)])


def test_the_new_class_can_be_asked_for(digits_run):
    saved = runner.rebuild(digits_run)
    own = saved._replace(name="personalise")
    assert asked.labels_of((10,), own, 2).tolist() == [10, 10]
    for run, label in ((own, 11), (saved, 10)):
        with pytest.raises(ConfigError, match=f"label={label}"):
            asked.labels_of((label,), run, 2)


@pytest.mark.parametrize("dataset", ["digits", "colour:digits"])
def test_pairs_are_images_of_the_set_with_their_own_outlines(dataset):
    """Fewer are among more, and a set limited to all of its images is the whole set."""
    config = lambda pairs: control.Config(dataset=dataset, pairs=pairs)
    whole, few, more, most = (
        control.training_pairs(config(pairs)) for pairs in (None, 20, 50, 1198)
    )
    places = {x.tobytes(): place for place, x in enumerate(whole["x"])}
    for found, count in ((few, 20), (more, 50), (most, len(whole["x"]))):
        rows = [places[x.tobytes()] for x in found["x"]]
        assert len(rows) == len(found["y"]) == len(found["outlines"]) == count
        np.testing.assert_array_equal(found["outlines"], whole["outlines"][rows])
        np.testing.assert_array_equal(found["y"], whole["y"][rows])
    np.testing.assert_array_equal(few["x"], more["x"][:20])
    assert len(np.unique(few["y"])) > 5


def test_training_is_given_these_pairs_alone(monkeypatch, command):
    given = []
    monkeypatch.setattr(control, "run", lambda *_, train: given.append(train))
    assert command("control", *SMALL, "--pairs", 20).code == 0
    allowed = data.examples("digits", "train", 20)
    np.testing.assert_array_equal(given[0]["x"], allowed["x"])
    np.testing.assert_array_equal(given[0]["outlines"], control.outlines(allowed["x"]))


def of_control(report):
    """Names of what a report says of outlines."""
    words = ("outline", "controlled", "base_")
    return {name for name in report if name.startswith(words)}


@pytest.mark.slow
def test_both_kinds_report_the_same_but_for_the_base(command, dit_run):
    """A network from scratch has no base to be compared with; both follow outlines and labels."""
    common = {"outline_agreement", "outline_agreement_of_others", "controlled_examples"}
    common |= {"controlled_frechet", "controlled_label_accuracy"}
    base = {"outline_agreement_of_base", "base_frechet", "base_label_accuracy"}
    test = data.examples("digits", "test", 12)
    rows = {}
    for name, words, wanted in (
        ("copy", ("--from", dit_run), common | base),
        ("alone", DIT, common),
    ):
        rate = ("--learning-rate", 0.1, "--ema-decay", 0.5)
        ended = command("control", *words, *SMALL, *rate, "--pairs", 100, "--directory", name)
        assert ended.code == 0, ended.err
        saved = runner.rebuild(name)
        assert of_control(control.measure_test(saved, test, 12)) == wanted
        draw = lambda **given: np.asarray(
            saved.model.sample(jax.random.key(0), saved.state, 12, **given)  # noqa: B023
        )
        seen = 2 * control.outlines(test["x"]).astype(np.float32) / 255 - 1
        hidden = draw(label=test["y"])
        np.testing.assert_array_equal(hidden, draw(label=test["y"], control=0 * seen))
        assert not np.array_equal(hidden, draw(label=test["y"], control=seen))
        assert not np.array_equal(draw(control=seen), draw(label=test["y"], control=seen))
        with Image.open(f"{name}/samples/controlled.png") as picture:
            rows[name] = picture.height
    assert rows["copy"] > rows["alone"]


@pytest.mark.slow
def test_without_control_the_base_is_left(command, dit_run):
    """Trained with a large rate, the side copy changes samples; its zero layers made zero again,
    samples are those of the base, which training has not touched."""
    words = ("--from", dit_run, *SMALL, "--learning-rate", 0.1, "--directory", "control")
    ended = command("control", *words)
    assert ended.code == 0, ended.err
    saved, base = runner.rebuild("control"), runner.rebuild(dit_run)
    chex.assert_trees_all_equal(saved.state.frozen, base.state.ema["params"])
    test = data.examples("digits", "test", 4)
    wanted = control.outlines(test["x"])
    plain = control_report.without_control(saved.state)
    found = control_report.drawn(saved.model, plain, wanted, test["y"])
    truth = base.model.sample(jax.random.key(0), base.state, 4, label=test["y"])
    np.testing.assert_array_equal(found, truth)
    made = control_report.drawn(saved.model, saved.state, wanted, test["y"])
    assert not np.array_equal(made, found)
    assert Path("control/samples/controlled.png").stat().st_size > 500


def test_a_base_that_never_hid_its_labels_is_refused(dit_run):
    """The null label, which a control falls back on, was not trained."""
    saved = runner.rebuild(dit_run)
    parts = saved.model.parts
    never = parts._replace(options=parts.options._replace(condition_dropout=0.0))
    base = saved._replace(model=diffusion.model_from_parts(never))
    config = control.Config(initial_run=str(dit_run))
    with pytest.raises(ConfigError, match="without hidden labels.*label_dropout is 0"):
        control.build(config, saved.spec, base)
    control.build(config, saved.spec, saved)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("control", ("--pairs", 0), "pairs=0"),
        ("control", ("--pairs", 1199), "pairs=1199 must be an integer in [1, 1198]"),
        ("control", ("--pairs", 8), "batch_size=16"),
        ("control", ("--from", "DIT", "--path", "linear"), "path='linear' is of a network from"),
        ("control", ("--from", "DIT", "--network.patch", 2), "network=NetworkConfig("),
        ("control", ("--from", "DIGITS"), "has no DiT"),
        ("control", ("--from", "DIT", "--dataset", "edges:digits"), "was trained on 'digits'"),
        ("control", ("--dataset", "moons"), "has no images"),
        ("control", ("--condition-dropout", 0), "condition_dropout=0"),
        ("personalise", (), "from=None must be"),
        ("personalise", ("--from", "MIXTURE"), "is of 'mixture', which is not among: diffusion"),
        ("personalise", ("--from", "DIGITS", "--label", 11), "label=11"),
        ("personalise", ("--from", "DIGITS", "--instances", "folder:nowhere"), "does not exist"),
        ("personalise", ("--from", "DIGITS", "--instances", "domains:a"), "error: instances='dom"),
        ("personalise", ("--from", "DIGITS", "--prior-labels", 12), "prior_labels=12"),
        ("personalise", ("--from", "POINTS"), "has no labels"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    command, dit_run, digits_run, mixture_run, points_run, tmp_path, name, words, message
):
    runs = {"DIT": dit_run, "DIGITS": digits_run, "MIXTURE": mixture_run, "POINTS": points_run}
    words = [runs.get(word, word) for word in words]
    ended = command(name, *SMALL, *words, "--directory", tmp_path / "refused")
    assert ended.code in (2, 3)
    assert message in ended.err
    assert ended.err.strip().count("\n") == 0
