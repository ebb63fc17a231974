"""Control by outlines, instances from few images: what they report, and what they refuse."""

from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from experiments import control, personalise
from experiments.shared import asked, control_report, instances, runner
from gen_jax import data, diffusion
from gen_jax.errors import ConfigError

SMALL = ("--batch-size", 16, "--steps", 3)


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
        ("control", (), "from=None must be the directory of a run of diffusion or flow_matching"),
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
