"""Hooks that fail, data and states that change under a run, saving by the clock."""

import json
import os
import signal
from time import perf_counter
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gen_jax.errors import CheckpointError, ConfigError, Stopped
from gen_jax.model import GenerativeModel
from gen_jax.training import fit, restore_state, saved_steps, saving, session
from gen_jax.training.manifest import read_numbers
from gen_jax.training.report import write_report


def failing(step_of_failure):
    def hook(step, state):
        if step >= step_of_failure:
            raise ZeroDivisionError("in the hook")
        return {"score": 1.0}

    return hook


@pytest.mark.parametrize(
    "options", [{"evaluate": failing(6)}, {"on_sample": failing(5), "sample_every": 5}]
)
def test_an_error_in_a_hook_is_raised_after_the_step_is_saved(tmp_path, options):
    with pytest.raises(ZeroDivisionError):
        tiny.train(tmp_path, **options)
    failed = saved_steps(tmp_path)[-1]
    assert failed == (6 if "evaluate" in options else 5)
    resumed = tiny.train(tmp_path)
    assert tiny.bits(resumed) == tiny.bits(tiny.train())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "mapping"),
        ([1], "mapping"),
        ({"a": "x"}, "a='x'"),
        ({"a": None}, "a=None"),
        ({"a": np.ones(2)}, "a=an array"),
        ({1: 2.0}, "named 1"),
        ({"a": 1 + 2j}, "a="),
        ({"a": 10**400}, "a="),
        ({"step": 5.0}, "'step'"),
        ({"steps_per_second": 5.0}, "'steps_per_second'"),
    ],
    ids=str,
)
def test_numbers_of_evaluate_are_named_and_real(tmp_path, given, words):
    """The step is saved, nothing of what is refused is written, and the run goes on with others."""
    with pytest.raises(ConfigError, match="^evaluate gives [^\n]*$") as caught:
        tiny.train(tmp_path, steps=3, log_every=1, evaluate=lambda step, state: given)
    assert words in str(caught.value)
    assert saved_steps(tmp_path) == [3]
    assert not list(tmp_path.rglob("numbers.json"))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    good = {"a": np.float32(1), "b": jnp.bfloat16(2), "c": 3, "d": jnp.float32(float("nan"))}
    tiny.train(tmp_path, steps=3, log_every=1, evaluate=lambda step, state: good)
    assert read_numbers(tmp_path / "checkpoints" / "3")["metrics"] == {
        "a": 1.0,
        "b": 2.0,
        "c": 3.0,
        "d": None,
    }


@pytest.mark.parametrize("name", ["step", "steps_per_second"])
def test_a_metric_has_no_name_of_the_log(name):
    step = lambda key, state, batch: (state, {name: jnp.float32(0)})
    with pytest.raises(ConfigError, match=f"model.step gives '{name}'"):
        run(step)


def test_a_damaged_state_is_not_saved_for_a_hook(tmp_path):
    hook = {"on_sample": failing(5), "sample_every": 5}
    with pytest.raises(ZeroDivisionError):
        tiny.train(tmp_path, make={"nan_state_at": 4}, **hook)
    assert saved_steps(tmp_path) == [3]


def test_other_data_are_refused_by_name(tmp_path):
    tiny.train(tmp_path, steps=3)
    other = tiny.data()
    other["x"] = other["x"].copy()
    other["x"][17, 1] += 1e-6
    with pytest.raises(ConfigError, match="fit.data_x"):
        tiny.train(tmp_path, steps=6, data=other)
    tiny.train(tmp_path, steps=6, data=other, allow_changed=("data_x",))


def test_lost_checkpoints_are_not_passed_over_in_silence(tmp_path, capsys):
    tiny.train(tmp_path, steps=6)
    for step in saved_steps(tmp_path):
        (tmp_path / "checkpoints" / str(step)).rename(tmp_path / f"moved-{step}")
    with pytest.raises(CheckpointError, match="has ended, but no checkpoint"):
        tiny.train(tmp_path, steps=6)
    (tmp_path / "DONE").unlink()
    tiny.train(tmp_path, steps=6)
    assert "starts again from step 0" in capsys.readouterr().err


def test_a_request_to_stop_does_not_wait_for_evaluate(tmp_path):
    evaluated = []

    def evaluate(step, state):
        evaluated.append(step)
        return {"score": 0.0}

    def on_sample(step, state):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    hooks = {"evaluate": evaluate, "on_sample": on_sample, "sample_every": 1}
    with pytest.raises(Stopped, match="at step"):
        tiny.train(tmp_path, **hooks)
    assert evaluated == [3]
    assert saved_steps(tmp_path)[-1] in (4, 5)


def model_with_best(step):
    """A state that begins with an infinity: the best loss so far."""

    def init(key, batch):
        return {"w": jnp.zeros(3), "best": jnp.array(jnp.inf)}

    return GenerativeModel(init, step, lambda key, state, n: jnp.zeros((n, 3)))


def run(step, directory=None, steps=4):
    options = {"steps": steps, "batch_size": 8, "save_every": 2, "progress": False}
    model = model_with_best(step)
    return fit(jax.random.key(0), model, tiny.data(), directory=directory, **options)


def test_an_infinity_of_the_initial_state_may_stay(tmp_path):
    keep = lambda key, state, batch: (state, {"loss": jnp.zeros(())})
    assert np.isinf(run(keep, tmp_path)["best"])
    assert saved_steps(tmp_path) == [2, 4]
    assert np.isinf(restore_state(tmp_path, run(keep))[0]["best"])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda s: {**s, "w": s["w"].astype(jnp.bfloat16)}, r"\['w'\] was float32\[3\], is bfloat"),
        (lambda s: {**s, "w": s["w"][:2]}, r"\['w'\] was float32\[3\], is float32\[2\]"),
        (lambda s: {**s, "more": s["w"]}, r"\['more'\] was absent"),
        (lambda s: {"w": s["w"]}, r"\['best'\] was float32\[\], is absent"),
    ],
)
def test_a_step_must_keep_the_form_of_the_state(step, message):
    with pytest.raises(ConfigError, match=message):
        run(lambda key, state, batch: (step(state), {"loss": jnp.zeros(())}))


def test_saving_by_the_clock(tmp_path, monkeypatch):
    """Each look of the session at its clock is 40 seconds later than the one before."""
    now = iter(range(0, 10**6, 40))
    # These modules' own name only: the clock of the whole process is read by other threads too.
    clock = SimpleNamespace(monotonic=lambda: next(now), perf_counter=perf_counter)
    for module in (session, saving):
        monkeypatch.setattr(module, "time", clock, raising=False)
    options = {"save_every": 1000, "log_every": 1, "keep": 100, "steps": 12}
    state = tiny.train(tmp_path, save_minutes=4, **options)
    steps = saved_steps(tmp_path)
    assert steps[-1] == 12
    assert 1 < len(steps) < 12
    assert tiny.bits(state) == tiny.bits(tiny.train())


def test_the_report_shows_samples_of_the_whole_run(tmp_path):
    (tmp_path / "samples").mkdir()
    for step in range(1, 21):
        (tmp_path / "samples" / f"step_{step:08d}.png").write_bytes(b"picture")
    page = write_report(tmp_path).read_text()
    shown = [step for step in range(1, 21) if f"<p>step_{step:08d}" in page]
    assert len(shown) == 6
    assert (shown[0], shown[-1]) == (1, 20)
