"""Stopping on request: the loop looks for a request between two calls."""

import signal
import threading
from typing import Any

INSISTENT = (signal.SIGTERM, signal.SIGINT)
"""Signals whose second one ends a run at once. Of the others the system sends several."""
SIGNALS = (*INSISTENT, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)
"""Asked to end, Ctrl-C, a closed terminal, Slurm's warning, the limit of processor time."""


class StopRequest:
    """A signal asks a run to save and stop; a second SIGTERM or SIGINT ends it at once.

    SIGHUP stays ignored where it is, as `nohup` asks for.
    """

    def __init__(self):
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                old = signal.getsignal(number)
                ignored = number == signal.SIGHUP and old is signal.SIG_IGN
                if not ignored:
                    signal.signal(number, self._handle)
                    self._old[number] = old
        return self

    def _handle(self, number, frame):
        self.asked = True
        if number in INSISTENT:
            for each in INSISTENT:
                signal.signal(each, signal.SIG_DFL)

    def __exit__(self, *error):
        for number, handler in self._old.items():
            # None: a handler that Python did not set, and cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def ignore_repeated() -> None:
    """For a process that has saved and is about to end: of some signals several are sent."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if number not in INSISTENT:
                signal.signal(number, signal.SIG_IGN)
