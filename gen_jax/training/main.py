"""The frame around a script's `main`: one line per error, an exit code per kind of error."""

import errno
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from gen_jax.errors import GenJaxError, ResourceError, Stopped
from gen_jax.training.backend import cache_folder

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


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
    try:
        path = cache_folder() / "last_error.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{' '.join(sys.argv)}\n\n{traceback.format_exc()}", encoding="utf-8")
    except OSError:
        return " (--debug shows the traceback)"
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


def run_main(main: Callable) -> NoReturn:
    """Call `main()` and leave with the exit code of errors.py, or 1 for an unexpected error.

    `--debug` anywhere on the command line is taken out before `main` reads it, and prints
    tracebacks, which otherwise go to a log in the cache folder. An integer that `main` returns
    is the exit code.
    """
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [word for word in sys.argv[1:] if word != "--debug"]
    if not debug:
        _quiet_late_callbacks()
        _one_line_warnings()
    try:
        result = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        code = _exit_code(error)
        where = _write_log(debug)
        expected = isinstance(error, GenJaxError)
        print(_one_line(error) + ("" if expected else where), file=sys.stderr)
        sys.exit(code)
    sys.exit(result if type(result) is int else 0)
