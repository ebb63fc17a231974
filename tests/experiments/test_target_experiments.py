"""Runs on known densities: what they have more than runs on data."""

import json
import math

import pytest

from experiments.shared import runner

SMALL = (
    *("--schedule.batch-size", 40, "--schedule.first-steps", 3, "--schedule.stage-steps", 2),
    *("--schedule.max-stages", 2, "--schedule.polish-steps", 1, "--flow.bins", 4),
    *("--flow.hidden", 8),
)


def test_temperflow_from_training_to_numbers(command, tmp_path):
    def ok(module, *words):
        ended = command(module, *words)
        assert ended.code == 0, ended.err
        return ended

    directory = tmp_path / "run"
    words = ("--dataset", "target:many_well@4", *SMALL, "--directory", directory)
    ok("temperflow", *words, "--steps", 12, "--save-every", 6)
    assert (directory / "samples" / "tempering.png").stat().st_size
    saved = runner.rebuild(directory)
    assert (saved.name, saved.step, saved.spec.shape) == ("temperflow", 12, (4,))
    refused = command("sample", directory, "--stepper", "ddim")
    assert refused.code == 2
    assert "stepper" in refused.err
    assert command("sample", directory, "--animate").code == 2

    ok("evaluate", directory, "--num", 100)
    report = json.loads((directory / "evaluation.json").read_text())
    assert report["sliced_wasserstein"] > report["sliced_wasserstein_exact"] > 0
    assert report["refined_sliced_wasserstein"] > 0
    assert report["log_normalizer"]["standard_error"] > 0
    assert 0 <= report["unfilled"] <= 1
    assert all(math.isfinite(v) for v in report.values() if isinstance(v, float))


def test_a_target_without_exact_samples(command, tmp_path):
    """It can be sampled by chains; a model of data has nothing to learn from."""
    words = ("--dataset", "target:logistic_regression", "--directory", tmp_path / "run")
    small = ("--chains", 3, "--kernel-steps", 1, "--temperatures", 2, "--recorded", 8)
    ended = command("mcmc", *words, *small, "--steps", 2)
    assert ended.code == 0, ended.err
    assert command("evaluate", tmp_path / "run", "--num", 20).code == 0
    refused = command("flow_matching", *words)
    assert refused.code == 3
    assert "exact samples" in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--dataset target:rings", "NAME='rings' did you mean 'ring'"),
        ("--dataset target:ring@3", "target:ring@3 fixed"),
        ("--dataset target:many_well@3", "even"),
        ("--dataset target:clayton@x", "DIM='x'"),
        ("--dataset digits", "dataset='digits' density target:NAME"),
        ("--schedule.kl-factor 1", "kl_factor"),
        ("--flow.bins 1", "bins=1"),
        ("--flow.spline cubic", "spline='cubic'"),
        ("--dataset target:clayton@9 --flow.block 2", "block=2"),
        ("--steps 0", "steps=0"),
    ],
)
def test_bad_input_is_named(command, words, message):
    ended = command("temperflow", *words.split())
    assert ended.code == 2
    for word in message.split():
        assert word in ended.err
