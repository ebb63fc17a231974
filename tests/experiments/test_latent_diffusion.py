"""Runs that hold another one frozen: whole without it, and refused for bases that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.shared import runner

SMALL = ("--network.width", 16, "--network.depth", 1, "--batch-size", 16, "--steps", 2)


@pytest.mark.slow
def test_a_run_is_whole_without_its_first_stage(command, coder_run):
    shutil.copytree(coder_run, "moved")
    small = (*SMALL, "--sampling-steps", 2, "--model", "flow_matching")
    ended = command("latent_diffusion", "--from", "moved", *small, "--directory", "latent")
    assert ended.code == 0, ended.err
    shutil.rmtree("moved")
    saved, first = runner.rebuild("latent"), runner.rebuild(coder_run)
    stage = saved.state.frozen
    assert (stage.std > 0).all()
    assert not np.allclose(stage.std, 1, atol=1e-4)
    np.testing.assert_array_equal(
        stage.state.params["decoder"]["params"]["Conv_0"]["kernel"],
        first.state.params["decoder"]["params"]["Conv_0"]["kernel"],
    )
    assert command("sample", "latent", "--num", 4).code == 0
    assert Path("latent/samples/reconstructions.png").stat().st_size > 500
    stored = json.loads(Path("latent/config.json").read_text())["from"]
    assert (stored["run"], stored["base"]["config"]["convolutional"]) == ("vae", True)


@pytest.mark.slow
def test_a_flow_map_of_latents_jumps_once(command, coder_run):
    jump = ("--model", "flow_map", "--noise-input", "slow_angle", "--sampling-steps", 1)
    ended = command("latent_diffusion", "--from", coder_run, *SMALL, *jump, "--directory", "map")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "from=None must be the directory of a run of vae"),
        (("--from", "nowhere"), "nowhere' holds no run"),
        (("--from", "CODER", "--dataset", "binarized:digits"), "was trained on 'digits' (8, 8, 1)"),
        (("--from", "CODER", "--model", "gan"), "model='gan'"),
        pytest.param(
            ("--from", "DEAD"), "of 2 latent channels are dead (first: 0", marks=pytest.mark.slow
        ),
        (("--from", "RUN"), "is of 'diffusion', which is not among: vae"),
    ],
)
def test_bases_that_do_not_fit_are_refused_in_one_line(
    command, coder_run, digits_run, words, message, tmp_path
):
    if "DEAD" in words:
        dead = ("--latent", 2, "--hidden", 4, "--steps", 1, "--batch-size", 16)
        assert command("vae", *dead, "--directory", tmp_path / "dead").code == 0
    named = {"CODER": coder_run, "DEAD": tmp_path / "dead", "RUN": digits_run}
    words = [named.get(word, word) for word in words]
    ended = command("latent_diffusion", *SMALL, *words, "--directory", tmp_path / "refused")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.strip().count("\n") == 0
