"""Exit codes and what stderr shows: one line, a traceback only with --debug."""

import contextlib
import errno
import sys
import warnings

import pytest

from gen_jax import errors
from gen_jax.training import run_main


def outcome(monkeypatch, tmp_path, capsys, main, *words):
    """(exit code, stderr) of a script whose function is `main`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["script", *words])
    with pytest.raises(SystemExit) as ended:
        run_main(main)
    return ended.value.code, capsys.readouterr().err


def raising(error):
    def main():
        raise error

    return main


CASES = [
    (RuntimeError("several\nlines"), 1, "error: RuntimeError: several lines (traceback: "),
    (errors.ConfigError("steps=0"), 2, "error: steps=0\n"),
    (errors.DataError("no x"), 3, "error: no x\n"),
    (errors.CheckpointError("torn\nfile"), 4, "error: torn file\n"),
    (errors.NumericalError("nan"), 5, "error: nan\n"),
    (errors.ResourceError("disk"), 6, "error: disk\n"),
    (MemoryError(), 6, "error: out of memory"),
    (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), 6, "error: out of memory"),
    (OSError(errno.ENOSPC, "No space left", "f"), 6, "error: OSError: [Errno 28] No space left"),
    (FileNotFoundError(errno.ENOENT, "No such file", "f"), 1, "error: FileNotFoundError: "),
    (errors.Stopped("at step 3"), 75, "stopped: at step 3\n"),
    (KeyboardInterrupt(), 130, "interrupted\n"),
]


@pytest.mark.parametrize(("error", "code", "start"), CASES, ids=lambda value: repr(value)[:25])
def test_errors_have_codes_and_one_line(monkeypatch, tmp_path, capsys, error, code, start):
    found, text = outcome(monkeypatch, tmp_path, capsys, raising(error))
    assert found == code
    assert text.startswith(start)
    assert text.count("\n") == 1
    assert "Traceback" not in text


def test_traceback_is_in_the_log_or_shown_with_debug(monkeypatch, tmp_path, capsys):
    main = raising(errors.DataError("no x"))
    outcome(monkeypatch, tmp_path, capsys, main)
    log = (tmp_path / "gen_jax" / "last_error.log").read_text()
    assert "Traceback" in log
    code, text = outcome(monkeypatch, tmp_path, capsys, main, "--debug")
    assert code == 3
    assert text.startswith("Traceback")
    assert text.endswith("error: no x\n")


def test_debug_is_hidden_from_the_script(monkeypatch, tmp_path, capsys):
    seen = []
    words = ("--steps", "3", "--debug")
    outcome(monkeypatch, tmp_path, capsys, lambda: seen.extend(sys.argv[1:]), *words)
    assert seen == ["--steps", "3"]


@pytest.mark.parametrize(("value", "code"), [(None, 0), (0, 0), (3, 3), (True, 0), ("text", 0)])
def test_what_main_returns(monkeypatch, tmp_path, capsys, value, code):
    assert outcome(monkeypatch, tmp_path, capsys, lambda: value) == (code, "")


def test_usage_errors_keep_their_code(monkeypatch, tmp_path, capsys):
    assert outcome(monkeypatch, tmp_path, capsys, lambda: sys.exit(2)) == (2, "")


def test_log_that_cannot_be_written(monkeypatch, tmp_path, capsys):
    (tmp_path / "gen_jax").write_text("a file, not a folder")
    code, text = outcome(monkeypatch, tmp_path, capsys, raising(RuntimeError("x")))
    assert (code, text) == (1, "error: RuntimeError: x (--debug shows the traceback)\n")


def test_a_warning_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back at the end
    main = lambda: print(warnings.formatwarning("two\n words", UserWarning, "x.py", 1), end="")
    with contextlib.redirect_stdout(sys.stderr):
        _, text = outcome(monkeypatch, tmp_path, capsys, main)
    assert text == "warning: two words\n"
