"""The edges of a process: a broken stderr, signals, errors from anywhere, no home, odd logs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import harness
import numpy as np
import pytest
import tiny

from gen_jax import training
from gen_jax.errors import CheckpointError, DataError, NumericalError, Stopped
from gen_jax.training import console, session
from gen_jax.training.checkpoint import saved_steps
from gen_jax.training.manifest import read_manifest, read_numbers

PLAN = {"steps": 12, "save_every": 5, "steps_per_call": 1}


class Broken:
    """A stream that refuses every write, as a pipe whose reader has gone."""

    encoding, isatty = "utf-8", lambda self: True

    def write(self, text=""):
        raise BrokenPipeError("gone")

    flush = write


@pytest.mark.parametrize("stream", [Broken(), None])
def test_messages_never_raise(tmp_path, monkeypatch, stream):
    """A bar on what claims to be a terminal, warnings and marks; or no stderr at all (`2>&-`)."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("GEN_JAX_MARKERS", "1")
    state = tiny.train(tmp_path, batch_size=4, progress=True, log_every=1)
    assert saved_steps(tmp_path)[-1] == int(state.count) == 12


@pytest.mark.parametrize("where", ["2>&1 | true", "2> /dev/full", "> /dev/full 2>&1", ">&- 2>&-"])
def test_a_process_whose_stderr_is_broken(tmp_path, where):
    """Real ones: a pipe that nobody reads, a full disk, closed. The run ends as it would."""
    command = " ".join(f"'{word}'" for word in harness.command(tmp_path / "run", **PLAN))
    script = f"set -o pipefail; {command} {where}"
    ended = subprocess.run(["bash", "-c", script], env=harness.environment(), timeout=120)
    assert ended.returncode == 0
    assert (tmp_path / "run" / "DONE").read_text() == "12\n"


def test_output_that_nobody_reads_does_not_change_the_exit_code(tmp_path):
    """`python script | true`: what is printed after training must not lose what follows it."""
    script = (
        "import sys, time; from gen_jax.training import run_main\n"
        "def main():\n"
        "    time.sleep(0.3)\n"
        "    for _ in range(3): print('x' * 10000)\n"
        f"    open({str(tmp_path / 'end')!r}, 'w').close()\n"
        "run_main(main)"
    )
    line = f"set -o pipefail; '{sys.executable}' -c \"$0\" | true"
    ended = subprocess.run(
        ["bash", "-c", line, script], env=harness.environment(), capture_output=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "end").exists()


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


def test_numbers_are_beside_the_step_and_sealed(tmp_path, capsys):
    """Damaged or of another step, they are not believed: the best is that of the step before."""
    scores = {5: 2.0, 10: 1.0, 12: 3.0}
    options = {**PLAN, "evaluate": lambda step, state: {"score": scores[step]}}
    state = tiny.train(tmp_path, best=("score", "max"), **options)
    folder = tmp_path / "checkpoints"
    assert read_manifest(folder / "12")["metrics"] == {}
    assert read_numbers(folder / "12")["metrics"] == {"score": 3.0}
    best = lambda: training.restore_state(tmp_path, state, step="best")[1]
    assert best() == 12
    path = folder / "12" / "numbers.json"
    whole = path.read_text()
    for harm in (
        whole.replace("3.0", "0.5"),
        whole[:20],
        (folder / "5" / "numbers.json").read_text(),
    ):
        path.write_text(harm)
        capsys.readouterr()
        assert best() == 5
        assert capsys.readouterr().err.count("warning") == 1
    path.unlink()
    assert best() == 5
    assert "has no numbers of evaluate" in capsys.readouterr().err
    for harm in ("", whole[:20]):
        path.write_text(harm)
        tiny.train(tmp_path, best=("score", "max"), **options)
        assert "counts as not evaluated" in capsys.readouterr().err
        assert path.read_text() == whole
        assert best() == 12


@pytest.mark.parametrize(
    "error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, CheckpointError]
)
def test_any_error_in_a_hook_saves_first(tmp_path, error):
    def fail(step, state):
        if step == 4:
            raise error("in the hook")

    with pytest.raises(error):
        tiny.train(tmp_path, sample_every=1, on_sample=fail, **PLAN)
    assert saved_steps(tmp_path) == [4]


def test_a_stream_that_breaks_saves_first(tmp_path):
    batches = lambda start: iter([{"x": tiny.data()["x"][:8]}] * (7 - start))
    with pytest.raises(DataError, match="ended before batch 7"):
        tiny.train(tmp_path, data=batches, **PLAN)
    assert saved_steps(tmp_path) == [5, 7]


def test_what_is_not_finite_is_not_saved_by_an_error(tmp_path):
    def fail(step, state):
        raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, NumericalError)):
        tiny.train(tmp_path, make={"nan_state_at": 1}, sample_every=2, on_sample=fail, **PLAN)
    assert saved_steps(tmp_path) == []


def test_logged_means_depend_on_neither_calls_nor_stops(tmp_path):
    """To the last digit: calls of 1, 3 or 12 steps; stopped between two lines."""

    def lines(directory):
        text = (directory / "metrics.jsonl").read_text()
        records = [json.loads(line) for line in text.splitlines()]
        return [(r["step"], r["loss"], r["norm"]) for r in records]

    plan = {"steps": 12, "log_every": 5, "save_every": 4}
    for number in (1, 3, 12):
        tiny.train(tmp_path / str(number), **plan, steps_per_call=number)
    wanted = lines(tmp_path / "12")
    assert [step for step, *_ in wanted] == [5, 10, 12]
    assert lines(tmp_path / "1") == lines(tmp_path / "3") == wanted
    each = tmp_path / "each"
    tiny.train(each, **{**plan, "log_every": 1})
    losses = [loss for _, loss, _ in lines(each)]
    assert wanted[1][1] == pytest.approx(np.mean(losses[5:10]), rel=1e-6)

    def stop(step, state):
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        tiny.train(tmp_path / "cut", **plan, sample_every=1, on_sample=stop)
    tiny.train(tmp_path / "cut", **plan)
    assert lines(tmp_path / "cut") == wanted


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


NOBODY = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
cannot_be_nobody = subprocess.run([*NOBODY, "true"], capture_output=True).returncode != 0


@pytest.mark.skipif(cannot_be_nobody, reason="another user id needs root and setpriv")
def test_a_user_without_home_or_name(tmp_path):
    """A container with a foreign uid: no cache, no traceback, the usual line for an error."""
    (tmp_path / "run").mkdir()
    os.chmod(tmp_path / "run", 0o777)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.name.startswith(("pytest-", "popen-", "test_")):  # not /tmp itself
            os.chmod(parent, 0o755)
    script = (
        "import os; from pathlib import Path; from gen_jax import data, training\n"
        "def main():\n"
        "    training.configure_backend(1)\n"
        "    assert training.cache_folder() is None and data.load('digits', 'test')\n"
        "    data.load('kmnist', 'train')\n"
        "training.run_main(main)"
    )
    variables = {**harness.environment(), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("HOME", "XDG_CACHE_HOME", "TFDS_DATA_DIR", "JAX_COMPILATION_CACHE_DIR", "TMPDIR"):
        variables.pop(name, None)
    ended = subprocess.run(
        [*NOBODY, sys.executable, "-c", script],
        cwd=tmp_path / "run",
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: ")


def test_a_report_that_fails_does_not_fail_the_run(tmp_path, monkeypatch, capsys):
    def fail(path, numbers):
        raise TypeError("odd")

    monkeypatch.setattr(session, "write_report", fail)
    tiny.train(tmp_path, **PLAN)
    assert (tmp_path / "DONE").exists()
    assert "its report is not (odd)" in capsys.readouterr().err


def test_steady_streams_are_the_streams_otherwise():
    stream = console.Steady(sys.stdout)
    assert stream.encoding == sys.stdout.encoding
    assert not console.Steady(None).isatty()
    assert console.Steady(None).write("x") == 1
