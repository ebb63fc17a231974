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
def test_vectors_of_codes_are_latents(command, codes_run):
    """From the command line: trained, rebuilt, sampled and measured, without a likelihood."""
    words = ("--from", codes_run, *SMALL, "--sampling-steps", 2, "--directory", "vectors")
    ended = command("latent_diffusion", *words)
    assert ended.code == 0, ended.err
    saved = runner.rebuild("vectors")
    assert saved.state.frozen.mean.shape == (4,)
    assert saved.model.log_prob is None
    assert command("sample", "vectors", "--num", 4, "--label", 3).code == 0
    ended = command("evaluate", "vectors", "--num", 20)
    assert ended.code == 0, ended.err
    report = json.loads(Path("vectors/evaluation.json").read_text())
    assert report["reconstruction_error"]["value"] > 0
    assert "log_prob_nats" not in report


@pytest.mark.slow
def test_a_flow_map_of_latents_jumps_once(command, coder_run):
    jump = ("--model", "flow_map", "--noise-input", "angle", "--sampling-steps", 1)
    ended = command("latent_diffusion", "--from", coder_run, *SMALL, *jump, "--directory", "map")
    assert ended.code == 0, ended.err
    ended = command("evaluate", "map", "--num", 20, "--likelihood", 4)
    assert ended.code == 0, ended.err
    report = json.loads(Path("map/evaluation.json").read_text())
    assert report["log_prob_kind"] == "lower bound"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "from=None must be the directory of a run of vae or vqvae"),
        (("--from", "nowhere"), "nowhere' holds no run"),
        (("--from", "CODER", "--dataset", "binarized:digits"), "was trained on 'digits' (8, 8, 1)"),
        (("--from", "CODER", "--model", "gan"), "model='gan'"),
        pytest.param(
            ("--from", "DEAD"), "of 2 latent channels are dead (first: 0", marks=pytest.mark.slow
        ),
        (("--from", "RUN"), "is of 'diffusion', which is not among: vae, vqvae"),
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


@pytest.mark.slow
def test_one_command_trains_both_stages_of_a_model_of_sentences(command, tmp_path, monkeypatch):
    """The first one beside the run; again, both are found; a run of another first stage differs."""
    monkeypatch.chdir(tmp_path)
    codes = ("--codes", 8, "--dim", 4, "--width", 8, "--first-steps", 2)
    words = ("--model", "latent", *codes, *SMALL, "--network.patch", 1, "--sampling-steps", 2)
    ended = command("text_to_image", *words, "--directory", "drawn")
    assert ended.code == 0, ended.err
    assert runner.rebuild("drawn-first_stage").name == "vqvae"
    saved = runner.rebuild("drawn")
    assert "caption" in saved.model.conditions
    assert np.ptp(np.asarray(saved.state.frozen.std)) > 0
    assert Path("drawn/samples/captions.png").stat().st_size > 500
    again = command("text_to_image", *words, "--directory", "drawn")
    assert (again.code, "at 2" in again.err) == (0, True), again.err
    refused = command("sample", "drawn", "--prompt", "a purple cow")
    assert (refused.code, "unknown words ['cow', 'purple']" in refused.err) == (3, True)
    shutil.rmtree("drawn-first_stage")
    assert command("sample", "drawn", "--num", 4, "--prompt", "a thin two in white").code == 0
    ended = command("evaluate", "drawn", "--num", 20)
    assert ended.code == 0, ended.err
    report = json.loads(Path("drawn/evaluation.json").read_text())
    assert report["digit_as_asked"]["value"] >= 0
    assert report["reconstruction_error"]["value"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", "CODER"), "was trained on 'digits' (8, 8, 1), dataset='captions:digits'"),
        (("--from", "nowhere"), "nowhere' holds no run"),
        (("--from", "RUN", "--dataset", "digits"), "is of 'diffusion', which is not among: vae"),
        (("--dataset", "moons"), "neither captions nor digits"),
        (("--first-steps", 0), "first_steps=0"),
    ],
)
def test_first_stages_of_sentences_that_do_not_fit(command, coder_run, digits_run, words, message):
    words = [{"CODER": coder_run, "RUN": digits_run}.get(word, word) for word in words]
    ended = command("text_to_image", "--model", "latent", *SMALL, *words, "--directory", "none")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.strip().count("\n") == 0
    assert not Path("none-first_stage").exists()
