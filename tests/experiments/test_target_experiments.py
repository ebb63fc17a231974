"""Experiments that fit a known density: train, resume, sample, evaluate at their smallest."""

import json
import math

import numpy as np
import pytest

from experiments import pictures, runner

SMALL = {
    "temperflow": (
        *("--batch-size", 40, "--first-steps", 3, "--stage-steps", 2, "--max-stages", 2),
        *("--polish-steps", 1, "--bins", 4, "--hidden", 8),
    )
}


@pytest.mark.parametrize("name", runner.TARGET_EXPERIMENTS)
def test_whole_life(command, tmp_path, name):
    def ok(module, *words):
        ended = command(module, *words)
        assert ended.code == 0, ended.err
        return ended

    run = tmp_path / "run"
    words = ("--target", "many_well", "--dim", 4, *SMALL[name], "--directory", run)
    ok(name, *words, "--steps", 4, "--save-every", 2)
    assert "resumed at 4" in ok(name, *words, "--steps", 12, "--save-every", 2).err
    for file in ("config.json", "metrics.jsonl", "report.html", "DONE", "samples/tempering.png"):
        assert (run / file).stat().st_size
    saved = runner.rebuild(run)
    assert (saved.name, saved.step, saved.spec.shape) == (name, 12, (4,))
    pictures.write_samples(tmp_path, saved.model, saved.spec, saved.state, 12)
    made = [folder / "samples" / "step_00000012.png" for folder in (run, tmp_path)]
    assert made[0].read_bytes() == made[1].read_bytes()

    output = tmp_path / "a.npz"
    ok("sample", run, "--num", 20, "--output", output)
    assert np.load(output)["x"].shape == (20, 4)
    refused = command("sample", run, "--stepper", "ddim")
    assert refused.code == 2
    assert "stepper" in refused.err
    assert command("sample", run, "--animate").code == 2

    ok("evaluate", run, "--num", 100)
    report = json.loads((run / "evaluation.json").read_text())
    assert report["sliced_wasserstein"] > report["sliced_wasserstein_exact"] > 0
    assert report["refined_sliced_wasserstein"] > 0
    assert report["log_normalizer"]["standard_error"] > 0
    assert 0 <= report["unfilled"] <= 1
    assert all(math.isfinite(v) for v in report.values() if isinstance(v, float))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--target rings", "target='rings' did you mean 'ring'"),
        ("--target ring --dim 3", "dim=3"),
        ("--target many_well --dim 3", "dim / 2"),
        ("--kl-factor 1", "kl_factor"),
        ("--bins 1", "bins=1"),
        ("--spline cubic", "spline='cubic'"),
        ("--target clayton --dim 9 --block 2", "block=2"),
        ("--steps 0", "steps=0"),
    ],
)
def test_bad_input_is_named(command, words, message):
    ended = command("temperflow", *words.split())
    assert ended.code == 2
    for word in message.split():
        assert word in ended.err
