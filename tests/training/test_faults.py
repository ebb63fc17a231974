"""A run killed at any moment loses nothing that it said was saved, and ends on the same bits."""

import random
import signal

import harness
import pytest
import tiny

from gen_jax import training
from gen_jax.training.checkpoint import saved_steps
from gen_jax.training.manifest import verify

PLAN = {"steps": 24, "save_every": 3, "keep": 2, "steps_per_call": 1}
SPOTS = ("start", "step", "save", "commit", "saved", "clean")


@pytest.fixture(scope="module")
def template():
    """The state at the end of a run that nothing disturbs."""
    return tiny.train(**PLAN)


def check_nothing_lost(directory, lines):
    whole = [0]
    for step in saved_steps(directory):
        verify(directory / "checkpoints" / str(step))
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
@pytest.mark.timeout(1800)
def test_twenty_kills(tmp_path, template):
    """Twenty runs, each killed once at a spot, and finished by a second process."""
    draw, equal = random.Random(20), 0
    for number in range(20):
        directory, name = tmp_path / str(number), SPOTS[number % len(SPOTS)]
        step = 0 if name == "start" else draw.randint(1, 15)
        delay = draw.choice((0.0, 0.002, 0.01, 0.05))
        code, lines, hit = harness.run_until(directory, name, step, delay=delay, **PLAN)
        assert hit, lines
        assert code == -signal.SIGKILL, lines
        check_nothing_lost(directory, lines)
        code, lines, _ = harness.run_until(directory, "never", 0, **PLAN)
        assert code == 0, lines
        state, _ = training.restore_state(directory, template)
        equal += tiny.bits(state) == tiny.bits(template)
        print(f"kill {number + 1}: {name} {step} + {delay} s, {equal} equal", flush=True)
    assert equal == 20
