"""TensorBoard events, written in the caller's thread: a full disk is an error here, not a hang."""

import os
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar


class Events:
    """One event file, which hides what an earlier one holds from `step` on."""

    def __init__(self, folder: Path, step: int, flush_seconds: float = 10.0):
        folder.mkdir(exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{time.time_ns()}")
        self._flush_seconds, self._flushed = flush_seconds, time.monotonic()
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=step, session_log=start))

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Scalars by name. Raises OSError."""
        for name, value in metrics.items():
            event = Event(wall_time=time.time(), step=step, summary=scalar(name, value))
            self._writer.write_event(event)
        if time.monotonic() - self._flushed > self._flush_seconds:
            self._flushed = time.monotonic()
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()
