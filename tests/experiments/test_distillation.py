"""A few-step model that learns the flow of another run: whole without it, refused if it differs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.shared import runner

SMALL = ("--batch-size", 16, "--steps", 2)


@pytest.mark.slow
def test_a_student_is_whole_without_its_teacher(command):
    teacher = ("--noise-input", "angle", "--directory", "teacher", *SMALL)
    assert command("diffusion", *teacher).code == 0
    words = ("--from", "teacher", "--distil", "--guidance", 2, *SMALL)
    ended = command("flow_map", *words, "--directory", "student")
    assert ended.code == 0, ended.err
    own = runner.rebuild("teacher").state.ema
    shutil.rmtree("teacher")
    kept = runner.rebuild("student").state.frozen
    np.testing.assert_array_equal(
        kept["params"]["Dense_0"]["kernel"], own["params"]["Dense_0"]["kernel"]
    )
    assert command("sample", "student", "--num", 4, "--label", 3).code == 0
    assert json.loads(Path("student/config.json").read_text())["from"]["run"] == "diffusion"
    ended = command("flow_map", "--from", "student", *SMALL, "--distil")
    assert ended.code == 2
    assert "not among: diffusion, flow_matching" in ended.err


@pytest.mark.slow
def test_a_student_has_the_network_of_its_teacher(command):
    ended = command("diffusion", "--noise-input", "angle", "--directory", "teacher", *SMALL)
    assert ended.code == 0, ended.err
    for option in (("--path", "linear"), ("--label-dropout", 0.2), ("--network.width", 32)):
        ended = command("flow_map", "--from", "teacher", "--distil", *option, *SMALL)
        assert ended.code == 2, option
        assert "distil=True learns with the network of" in ended.err
