"""Stopping on request: the loop asks between two calls whether somebody wants the run to end."""

import signal
import threading
from typing import Any


class StopRequest:
    """SIGTERM and SIGINT ask a run to save and stop; a second one ends it at once."""

    def __init__(self):
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number, frame):
        self.asked = True
        for each in self._old:
            signal.signal(each, signal.SIG_DFL)

    def __exit__(self, *error):
        for number, handler in self._old.items():
            signal.signal(number, handler)
