"""What `evaluate` says of how it measured, and what it leaves out."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.shared import degradations, energy_options, measures
from gen_jax import data


def test_the_rows_compared_are_those_of_the_smallest_set():
    """More samples than test images are no more rows of a distance."""
    spec = SimpleNamespace(kind="images", name="of nobody", shape=(2, 2, 1))
    sets = {
        n: np.random.default_rng(n).integers(0, 256, (n, 2, 2, 1), "uint8") for n in (60, 20, 40)
    }
    train, test = ({"x": sets[n]} for n in (60, 20))
    found = measures.evaluate_samples(SimpleNamespace(spec=spec), sets[40], train, test, brief=True)
    assert (found["features"], found["num_compared"]) == ("pixels", 20)


@pytest.mark.parametrize("num", [0, 1])
def test_no_examples_have_no_mean(num):
    saved = SimpleNamespace(spec=SimpleNamespace(name="8gaussians"))
    test = data.load("8gaussians", "test")
    assert energy_options.exact_numbers(saved, test, num) == {}
    assert degradations.near_targets(saved, test, num) == {}
    assert energy_options.exact_numbers(saved, test, 2).keys() == {"exact_log_prob_nats"}


def test_options_of_a_sampler_without_a_stepper_are_reported(command, tmp_path):
    small = ("--features", 8, "--steps", 2, "--batch-size", 8, "--buffer-size", 16)
    chains = ("--levels", 2, "--annealed-chains", 4, "--chain-steps", 2, "--sample-steps", 2)
    ended = command("ebm", *small, *chains, "--directory", tmp_path / "run")
    assert ended.code == 0, ended.err
    few = ("--num", 12, "--likelihood", 0, "--num-steps", 3)
    ended = command("evaluate", tmp_path / "run", *few)
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert report["options"] == {"seed": 0, "num_steps": 3}
