"""The frame around a script's `main`: one line per error, an exit code per kind of error."""

import contextlib
import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from gen_jax.checks import check_callable, no_type_check
from gen_jax.errors import GenJaxError, ResourceError, Stopped
from gen_jax.training.backend import cache_folder
from gen_jax.training.console import UNWRITABLE, Steady
from gen_jax.training.stopping import ignore_repeated

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, GenJaxError):
        return error.exit_code
    disk = isinstance(error, OSError) and error.errno in DISK_ERRORS
    return ResourceError.exit_code if disk or _out_of_memory(error) else 1


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Stopped):
        return f"stopped: {text}"
    if isinstance(error, GenJaxError):
        return f"error: {text}"
    if _out_of_memory(error):
        return f"error: out of memory; use a smaller batch or more devices ({text[:200]})"
    return f"error: {type(error).__name__}: {text[:300]}"


def _write_log(debug: bool) -> str:
    """Keep the traceback of the current error; returns the words that say where it is."""
    if debug:
        traceback.print_exc()
        return ""
    folder, instead = cache_folder(), " (--debug shows the traceback)"
    if folder is None:
        return instead
    try:
        path = folder / "last_error.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{' '.join(sys.argv)}\n\n{traceback.format_exc()}", encoding="utf-8")
    except OSError:
        return instead
    return f" (traceback: {Path(path)})"


def _quiet_late_callbacks() -> None:
    """No trace of an Orbax write that reports to the event loop of a save that has failed.

    When one write of a save fails, for want of disk say, Orbax closes the loop at once; the others
    then fail to call back, in threads of their own. The failed save itself has its own line.
    """
    shown = sys.unraisablehook

    def hook(unraisable):
        if str(unraisable.exc_value) != "Event loop is closed":
            shown(unraisable)

    sys.unraisablehook = hook


def _one_line_warnings() -> None:
    """Warnings as one line, without the place in the source that gave them."""
    line = lambda message, *rest: f"warning: {' '.join(str(message).split())}\n"
    warnings.formatwarning = line  # type: ignore[assignment]


@contextlib.contextmanager
def _steady_streams() -> Iterator[None]:
    """stdout and stderr whose end, as after `| head`, does not end the script with them."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Steady(stream) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for stream in streams:
            _flush(stream)


def _open_standard_files() -> None:
    """Where 0, 1 or 2 are closed, the next file would get what XLA, say, writes to stderr."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def _flush(stream: Any) -> None:
    """Flush; a broken stream loses the rest, which Python would fail to write when it exits."""
    try:
        stream.flush()
    except UNWRITABLE:
        with contextlib.suppress(*UNWRITABLE):
            number, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


@no_type_check
def run_main(main: Callable) -> NoReturn:
    """Call `main()` and leave with the exit code of errors.py, or 1 for an unexpected error.

    `--debug` anywhere on the command line is taken out before `main` reads it, and prints
    tracebacks, which otherwise go to a log in the cache folder. An integer that `main` returns
    is the exit code.
    """
    check_callable("main", main)
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [word for word in sys.argv[1:] if word != "--debug"]
    if not debug:
        _quiet_late_callbacks()
        _one_line_warnings()
    _open_standard_files()
    with _steady_streams():
        sys.exit(_called(main, debug))


def _called(main: Callable, debug: bool) -> int:
    """The exit code of `main()`, its error in one line."""
    try:
        result = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if isinstance(error, Stopped):
            ignore_repeated()
        code = _exit_code(error)
        where = _write_log(debug)
        expected = isinstance(error, GenJaxError)
        print(_one_line(error) + ("" if expected else where), file=sys.stderr)
        return code
    return result if type(result) is int else 0
