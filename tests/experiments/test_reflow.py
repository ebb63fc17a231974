"""Reflow by rounds: pairs are drawn once and belong to their run."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.shared import pair_files, reflow_rounds, runner
from gen_jax import diffusion, paths
from gen_jax.errors import ConfigError

SMALL = ("--dataset", "8gaussians", "--network.width", 16, "--network.depth", 1)
FIRST = (*SMALL, "--steps", 6, "--batch-size", 16, "--directory", "flow")
REFLOW = ("flow", "--rounds", 2, "--pairs", 64, "--pair-steps", 3, "--num", 60)


@pytest.fixture(scope="module")
def done(command, elsewhere):
    assert command("flow_matching", *FIRST).code == 0
    ended = command("reflow", *REFLOW)
    assert ended.code == 0, ended.err
    return ended


@pytest.mark.slow
def test_rounds_are_runs_of_their_own(done):
    report = json.loads(Path("flow/reflow.json").read_text())
    assert list(report) == ["first", "reflow1", "reflow2", "distilled"]
    for numbers in report.values():
        assert numbers["straightness"] >= 0
        assert 0 <= numbers["1_euler"]["total_variation"] <= 1
    saved = runner.rebuild("flow-reflow2")
    assert (saved.name, saved.step, saved.config.pairs) == ("flow_matching", 6, True)
    assert runner.rebuild("flow-distilled").config.distilled


@pytest.mark.slow
def test_pairs_are_those_that_the_last_flow_connects(done):
    first = runner.rebuild("flow")
    with np.load("flow-reflow1/pairs.npz") as stored:
        pairs = dict(stored)
    assert pairs["x"].shape == pairs["x0"].shape == pairs["x1"].shape == (64, 2)
    path, heun = paths.linear(), diffusion.STEPPERS["heun"]()
    denoise, times = diffusion.denoiser(first.model, first.state), diffusion.GRIDS["flow"](path, 3)
    x1 = jnp.asarray(pairs["x1"][:5])
    again = diffusion.sample(jax.random.key(0), denoise, path, x1, times, heun)
    np.testing.assert_allclose(again, pairs["x0"][:5], atol=1e-5)


@pytest.mark.slow
def test_a_second_start_draws_no_pairs(done, command, monkeypatch):
    def refuse(*given, **options):
        raise AssertionError("pairs were drawn again")

    monkeypatch.setattr("experiments.shared.reflow_rounds.paired_data", refuse)
    ended = command("reflow", *REFLOW)
    assert ended.code == 0, ended.err


def test_refusals(command):
    for words, message in (
        (("flow_matching", *SMALL, "--pairs"), "needs directory"),
        (("flow_matching", *SMALL, "--pairs", "--directory", "empty"), "there is no"),
        (("flow_matching", *SMALL, "--distilled"), "needs pairs=True"),
    ):
        ended = command(*words)
        assert ended.code == 2
        assert message in ended.err


def test_fewer_pairs_than_a_batch_are_refused_before_they_are_drawn(command, points_run):
    """The folder with them stayed, and refused the next number."""
    ended = command("reflow", points_run, "--pairs", 4)
    assert ended.code == 2
    assert "pairs=4 must be at least the run's batch_size=16" in ended.err
    assert not list(points_run.parent.glob("*-reflow*"))


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"path": "linear"}, True),
        ({"path": "cosine"}, False),
        ({"path": "linear", "prediction": "velocity"}, True),
        ({"path": "linear", "prediction": "eps"}, False),
        ({"path": "vp", "prediction": "velocity"}, False),
        ({"path": "linear", "prediction": "velocity", "loss": "hybrid"}, False),
    ],
)
def test_rounds_start_from_a_velocity_on_the_linear_path_alone(options, allowed):
    """Parameters of another meaning were left out, and the first round began from none."""
    first = SimpleNamespace(config=SimpleNamespace(**options), directory=Path("flow"))
    if allowed:
        return reflow_rounds.check_flow(first)
    with pytest.raises(ConfigError, match="learned" if "loss" in options else "path="):
        reflow_rounds.check_flow(first)


def test_pairs_of_another_origin_are_refused(tmp_path):
    """Fewer pairs, another seed, or another run's were trained on in silence."""
    path, made = tmp_path / "pairs.npz", {"run": "a", "step": 6, "seed": 0, "pairs": 2}
    pairs = {"x0": np.zeros((2, 2)), "x1": np.ones((2, 2))}
    pair_files.write_pairs(path, pairs, made)
    for asked in (made, None):
        found = pair_files.read_pairs(path, asked)
        assert {name: x.tolist() for name, x in found.items()} == {
            name: x.tolist() for name, x in pairs.items()
        }
    for name, value in (("run", "b"), ("step", 7), ("seed", 1), ("pairs", 3)):
        with pytest.raises(ConfigError, match=f"{name}: {made[name]} -> {value}"):
            pair_files.read_pairs(path, {**made, name: value})


def test_pairs_of_captions_keep_them(tmp_path, monkeypatch):
    """Pairs were drawn without captions, and the next round refused them."""
    drawn, trained_on = {}, {}

    def draw(key, model, state, given, n, **options):
        drawn.update(given)
        return {name: np.zeros((n, 2)) for name in ("x", "x0", "x1")}

    monkeypatch.setattr(reflow_rounds, "paired_data", draw)
    monkeypatch.setattr(reflow_rounds, "run", lambda *_, train: trained_on.update(train))
    for name in ("rebuild", "next_config"):
        monkeypatch.setattr(reflow_rounds, name, lambda *_: None)
    monkeypatch.setattr(pair_files, "origin", lambda *_, **options: options)
    config = SimpleNamespace(seed=0, pairs=3, pair_steps=2)
    for spec, given, key in (
        (SimpleNamespace(name="captions:digits", num_classes=0), "caption", "caption"),
        (SimpleNamespace(name="digits", num_classes=2), "label", "y"),
    ):
        model = SimpleNamespace(conditions={given: "per sample"})
        last = SimpleNamespace(model=model, spec=spec, state=None, directory=tmp_path / given)
        reflow_rounds.trained(config, last, last, "reflow1", 1)
        np.testing.assert_array_equal(trained_on[key], drawn[given])
        assert len(trained_on[key]) == 3


@pytest.mark.parametrize(
    "harm", [lambda b: b[:100], lambda b: b"", lambda b: b[:-9], lambda b: b"x"]
)
def test_damaged_pairs_are_one_line(command, elsewhere, tmp_path, harm):
    path = tmp_path / "pairs.npz"
    pair_files.write_pairs(path, {"x0": np.zeros((2, 2)), "x1": np.ones((2, 2))}, {})
    path.write_bytes(harm(path.read_bytes()))
    ended = command("flow_matching", *SMALL, "--pairs", "--directory", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (3, 1), ended.err
    assert "pairs.npz' cannot be read" in ended.err
