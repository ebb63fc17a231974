"""A run killed at any moment loses nothing that it said was saved, and ends on the same bits."""

import json
import signal
import subprocess
import sys

import harness
import pytest
import survey
import tiny

from gen_jax.training.checkpoint import saved_steps
from gen_jax.training.manifest import verify
from gen_jax.training.restoring import identity_in

PLAN = {"steps": 24, "save_every": 3, "keep": 2, "steps_per_call": 1}


@pytest.fixture(scope="module")
def template():
    """The state at the end of a run that nothing disturbs."""
    return tiny.train(**PLAN)


def check_nothing_lost(directory, lines):
    whole = [0]
    for step in saved_steps(directory):
        verify(directory / "checkpoints" / str(step), identity_in(directory))
        whole.append(step)
    assert max(whole) >= harness.acknowledged(lines)


def test_kills_and_a_stop_in_one_run(tmp_path, template):
    """Three SIGKILL in one directory, then one SIGTERM, then the rest of the run."""
    for name, step in (("save", 3), ("commit", 6), ("clean", 6)):
        code, lines, hit = harness.run_until(tmp_path, name, step, **PLAN)
        assert hit, lines
        assert code == -signal.SIGKILL
        check_nothing_lost(tmp_path, lines)
    code, lines, hit = harness.run_until(tmp_path, "step", 14, signal.SIGTERM, **PLAN)
    assert hit, lines
    assert code == 75, lines
    assert lines[-1].startswith("stopped: at step 1")
    assert max(saved_steps(tmp_path)) < 24
    check_nothing_lost(tmp_path, lines)
    assert not (tmp_path / "DONE").exists()
    assert tiny.bits(tiny.train(tmp_path, **PLAN)) == tiny.bits(template)
    assert (tmp_path / "DONE").read_text() == "24\n"
    assert not list((tmp_path / "checkpoints").glob("*[a-z]*"))


def test_second_sigterm_ends_at_once(tmp_path):
    code, lines, hit = harness.run_until(
        tmp_path, "sample", 1, signal.SIGTERM, times=2, hang=True, **PLAN
    )
    assert hit, lines
    assert code == -signal.SIGTERM


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_kill_damage_and_signal_of_the_survey(tmp_path):
    """A hundred kills at every spot, each file damaged in each way, each digit of config.json."""
    output = tmp_path / "survey.json"
    parts = ("--parts", "kills", "signals", "damages")
    command = [sys.executable, survey.__file__, *parts, "--output", str(output)]
    subprocess.run(command, env=harness.environment(), check=True)
    found = json.loads(output.read_text())
    counts = {name.split(":")[0]: (tried, right) for name, tried, right in found["rows"]}
    assert counts.keys() == {"signals", "damages of files", "damages of identity", "kills"}
    assert {name for name, (tried, right) in counts.items() if tried != right} == set()
