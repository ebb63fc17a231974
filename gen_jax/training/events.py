"""TensorBoard events, written in the caller's thread: a full disk is an error here, not a hang."""

import os
import sys
import time
from pathlib import Path
from types import ModuleType

from gen_jax.training.console import note


def _tensorboardx() -> tuple[ModuleType, ModuleType, ModuleType]:
    """tensorboardX imports torch wherever it is installed: seconds, for nothing that is used."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import event_file_writer, summary
        from tensorboardX.proto import event_pb2
    finally:
        if hidden:
            del sys.modules["torch"]
    return event_file_writer, summary, event_pb2


class NoEvents:
    """What stands in for `Events` where tensorboardX is not installed."""

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def opened(folder: Path, step: int) -> "Events | NoEvents":
    """`Events(folder, step)`; without tensorboardX one line that names the extra, and no events."""
    try:
        return Events(folder, step)
    except ImportError:
        note("no TensorBoard events without tensorboardX: `pip install 'gen_jax[tensorboard]'`")
        return NoEvents()


class Events:
    """One event file, which hides what an earlier one holds from `step` on."""

    def __init__(self, folder: Path, step: int, flush_seconds: float = 10.0):
        files, self._summary, self._proto = _tensorboardx()
        folder.mkdir(exist_ok=True)
        self._writer = files.EventsWriter(
            str(folder / "events"), f".{os.getpid()}.{time.time_ns()}"
        )
        self._flush_seconds, self._flushed = flush_seconds, time.monotonic()
        start = self._proto.SessionLog(status=self._proto.SessionLog.START)
        self._write(step, session_log=start)

    def _write(self, step: int, **content) -> None:
        self._writer.write_event(self._proto.Event(wall_time=time.time(), step=step, **content))

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Scalars by name. Raises OSError."""
        for name, value in metrics.items():
            self._write(step, summary=self._summary.scalar(name, value))
        if time.monotonic() - self._flushed > self._flush_seconds:
            self._flushed = time.monotonic()
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()
