"""Odd, missing and vanishing files of a run do not block those who resume or read it."""

import json
import threading

import pytest
import tiny

from gen_jax import training
from gen_jax.errors import CheckpointError

PLAN = {"steps": 12, "save_every": 5, "steps_per_call": 1}


@pytest.mark.parametrize(
    "lines",
    [
        '{"step": null}',
        '{"step": "3"}',
        '{"step": [1]}',
        '{"step": true}',
        "3",
        "[" * 100_000,
        "{}",
    ],
    ids=lambda text: text[:12],
)
def test_odd_lines_of_the_log_do_not_block_a_resume(tmp_path, lines):
    tiny.train(tmp_path, **{**PLAN, "steps": 5})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(lines + "\n")
    tiny.train(tmp_path, **PLAN)
    steps = [json.loads(x)["step"] for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 5, 6, 8, 10, 12]


@pytest.mark.parametrize(
    "text", ["[]", "3", "{", "[" * 100_000, '{"history": 3}', '{"packages": 1}']
)
def test_an_odd_environment_does_not_block_a_resume(tmp_path, text):
    tiny.train(tmp_path, **{**PLAN, "steps": 5})
    (tmp_path / "environment.json").write_text(text)
    assert int(tiny.train(tmp_path, **PLAN).count) == 12
    assert "packages" in json.loads((tmp_path / "environment.json").read_text())


def test_log_files_that_cannot_be_read_do_not_block_a_resume(tmp_path, capsys):
    tiny.train(tmp_path, **{**PLAN, "steps": 5})
    for name in ("metrics.jsonl", "environment.json"):
        (tmp_path / name).unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    assert int(tiny.train(tmp_path, **PLAN).count) == 12
    lines = capsys.readouterr().err
    assert "metrics" in lines
    assert "/proc/" not in lines


def test_a_live_run_is_read_while_it_removes_its_steps(tmp_path):
    """keep=1: each save removes the step before, perhaps the one that is being read."""
    state = tiny.train(tmp_path, steps=1)
    done = threading.Event()

    def train():
        for steps in range(2, 8):
            tiny.train(tmp_path, steps=steps, save_every=1, keep=1)
        done.set()

    def read():
        restored, step = training.restore_state(tmp_path, state)
        assert int(restored.count) == step
        return step

    thread = threading.Thread(target=train)
    thread.start()
    seen = []
    while not done.is_set():
        seen.append(read())
    thread.join()
    assert read() == 7
    assert len(set(seen)) > 1


def test_a_step_that_goes_while_it_is_read(tmp_path, monkeypatch):
    """Removed when it was verified and not yet loaded: the steps are listed again."""
    import shutil

    from gen_jax.training import restoring

    state = tiny.train(tmp_path, steps=2, save_every=1)
    original, gone = restoring.load, []

    def load(folder, template):
        if not gone:
            gone.append(folder)
            shutil.rmtree(folder)
        return original(folder, template)

    monkeypatch.setattr(restoring, "load", load)
    restored, step = training.restore_state(tmp_path, state)
    assert (step, int(restored.count)) == (1, 1)
    gone.clear()
    with pytest.raises(CheckpointError, match=r"holds no checkpoint|no step"):
        training.restore_state(tmp_path, state, step=1)
