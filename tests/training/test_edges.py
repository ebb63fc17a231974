"""The edges of a process: a broken stderr, errors from anywhere, no home, logged means."""

import json
import os
import signal
import subprocess
import sys

import harness
import numpy as np
import pytest
import tiny

from gen_jax import training
from gen_jax.errors import CheckpointError, DataError, NumericalError, Stopped
from gen_jax.training import backend, console, session
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


@pytest.mark.parametrize(
    ("count", "cores", "threads"),
    [(1, 1, "2"), (1, 2, "3"), (2, 2, "4"), (8, 2, "16"), (1, 16, None)],
)
def test_xla_has_a_thread_to_spare(monkeypatch, count, cores, threads):
    """Where a program may block as many threads as there are cores, see `set_cpu_devices`."""
    monkeypatch.setattr(backend, "_set", lambda *_: None)
    monkeypatch.setattr(backend, "_cores", lambda: cores)
    monkeypatch.setattr(os, "environ", {})
    training.set_cpu_devices(count)
    assert os.environ.get("NPROC") == threads
    monkeypatch.setattr(os, "environ", {"NPROC": "5"})
    training.set_cpu_devices(count)
    assert os.environ["NPROC"] == "5"


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


def test_notebooks_have_a_bar_of_their_own(monkeypatch):
    """stderr of a notebook is no terminal; where tqdm.auto has widgets, they are shown."""
    made = []

    class Widgets:
        n = 0

        def __init__(self, **options):
            made.append(options["total"])

        def update(self, steps):
            self.n += steps

        def set_postfix_str(self, text):
            made.append(text)

        def close(self):
            made.append("closed")

    assert console.bar_here()[1] is False
    assert console.Progress(0, 5, shown=True).bar is None
    monkeypatch.setattr("tqdm.auto.tqdm", Widgets)
    assert console.Progress(0, 5, shown=True).bar is None
    Widgets.__module__ = "tqdm.notebook"
    progress = console.Progress(0, 5, shown=True)
    progress.update(2, {"loss": 0.5}, None)
    progress.close()
    assert made == [5, "loss 0.5", "closed"]
    assert progress.bar.n == 2
