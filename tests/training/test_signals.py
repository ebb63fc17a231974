"""Signals ask a run to save and stop, also in the middle of a hook."""

import os
import signal
import time

import harness
import pytest
import tiny

from gen_jax import training
from gen_jax.errors import Stopped
from gen_jax.training.checkpoint import saved_steps

PLAN = {"steps": 12, "save_every": 5, "steps_per_call": 1}
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signals_ask_a_run_to_save_and_stop(tmp_path, number):
    before = signal.getsignal(number)

    def send(step, state):
        if step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match="at step 3 of 12"):
        tiny.train(tmp_path, sample_every=1, on_sample=send, **PLAN)
    assert saved_steps(tmp_path) == [3]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGXCPU], ids=lambda number: number.name)
def test_signals_that_come_in_numbers_do_not_kill(tmp_path, number):
    """A closed terminal sends several SIGHUP, the limit of processor time one a second."""
    code, lines, hit = harness.run_until(
        tmp_path, "step", 4, number, times=3, **{**PLAN, "nap": 0.3}
    )
    assert hit, lines
    assert code == 75, lines
    assert saved_steps(tmp_path) == [harness.acknowledged(lines)]


def test_nohup_is_obeyed(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        send = lambda step, state: os.kill(os.getpid(), signal.SIGHUP)
        state = tiny.train(tmp_path, sample_every=1, on_sample=send, **PLAN)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert int(state.count) == 12


@pytest.mark.parametrize(("hook", "step"), [("evaluate", 5), ("on_sample", 3)])
def test_a_stop_during_a_hook_has_saved_before_it_returns(tmp_path, hook, step):
    """SIGTERM in a hook that goes on: its step is durable long before it returns."""
    seen = []

    def slow(now, state):
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)
            deadline = time.monotonic() + 20
            while saved_steps(tmp_path) != [step] and time.monotonic() < deadline:
                time.sleep(0.02)
            seen.append(saved_steps(tmp_path))
        return {"score": float(now)}

    options = {"sample_every": 1} if hook == "on_sample" else {}
    with pytest.raises(Stopped, match=f"at step {step} of 12"):
        tiny.train(tmp_path, **{hook: slow}, **options, **PLAN)
    assert seen == [[step]]
    assert tiny.bits(tiny.train(tmp_path, **PLAN)) == tiny.bits(tiny.train(steps=12))


def test_a_request_is_looked_at_before_a_hook(tmp_path):
    """SIGTERM in `on_sample` at a save: `evaluate` is not begun, but is after resuming."""
    evaluated = []

    def evaluate(step, state):
        evaluated.append((step, int(state.count)))
        return {"score": -float(step)}

    def send(step, state):
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    options = {**PLAN, "evaluate": evaluate, "best": ("score", "max"), "keep": 1}
    with pytest.raises(Stopped):
        tiny.train(tmp_path, sample_every=5, on_sample=send, **options)
    assert evaluated == []
    state = tiny.train(tmp_path, **options)
    assert evaluated == [(5, 5), (10, 10), (12, 12)]
    assert saved_steps(tmp_path) == [5, 12]
    assert training.restore_state(tmp_path, state, step="best")[1] == 5
    tiny.train(tmp_path, **options)
    assert len(evaluated) == 3


def test_a_stop_at_the_last_step_leaves_its_evaluation_to_the_next_start(tmp_path):
    evaluated = []
    evaluate = lambda step, state: evaluated.append(step) or {"score": 1.0}

    def send(step, state):
        if step == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    options = {**PLAN, "evaluate": evaluate}
    with pytest.raises(Stopped, match="at step 12 of 12"):
        tiny.train(tmp_path, sample_every=1, on_sample=send, **options)
    assert not (tmp_path / "DONE").exists()
    tiny.train(tmp_path, **options)
    assert evaluated == [5, 10, 12]
    assert (tmp_path / "DONE").exists()
