"""TensorBoard events, written in the caller's thread: a full disk is an error here, not a hang."""

import json
import os
import struct
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from gen_jax.training.console import note

FOLDER = "tensorboard"


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

    def configuration(self, step: int, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def samples(self, step: int, run: Path) -> None:
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


def add_samples(run: Path, step: int) -> None:
    """The samples of a step in an event file of their own: for what is drawn after the training.

    Nothing happens without tensorboardX, or where there are no events. Raises OSError.
    """
    if not (run / FOLDER).is_dir():
        return
    try:
        written = Events(run / FOLDER, step, start=False)
    except ImportError:
        return
    written.samples(step, run)
    written.close()


class Events:
    """One event file; from its `start` on it hides what an earlier one holds from `step` on."""

    def __init__(self, folder: Path, step: int, flush_seconds: float = 10.0, start: bool = True):
        files, self._summary, self._proto = _tensorboardx()
        folder.mkdir(exist_ok=True)
        self._writer = files.EventsWriter(
            str(folder / "events"), f".{os.getpid()}.{time.time_ns()}"
        )
        self._flush_seconds, self._flushed = flush_seconds, time.monotonic()
        if start:
            begun = self._proto.SessionLog(status=self._proto.SessionLog.START)
            self._write(step, session_log=begun)

    def _write(self, step: int, **content) -> None:
        self._writer.write_event(self._proto.Event(wall_time=time.time(), step=step, **content))

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Scalars by name. Raises OSError."""
        for name, value in metrics.items():
            self._write(step, summary=self._summary.scalar(name, value))
        if time.monotonic() - self._flushed > self._flush_seconds:
            self._flushed = time.monotonic()
            self._writer.flush()

    def configuration(self, step: int, values: Mapping[str, Any]) -> None:
        """The options of the run as text. Raises OSError."""
        code = textwrap.indent(json.dumps(values, indent=2), "    ")
        self._write(step, summary=self._summary.text("config", code))

    def samples(self, step: int, run: Path) -> None:
        """Pictures and texts `samples/step_STEP*` of a run. Raises OSError."""
        for path in sorted((run / "samples").glob(f"step_{step:08d}*")):
            tag = "samples" + path.stem.removeprefix(f"step_{step:08d}")
            if path.suffix == ".png":
                self._write(step, summary=self._picture(tag, path.read_bytes()))
            elif path.suffix == ".txt":
                text = textwrap.indent(path.read_text(encoding="utf-8", errors="replace"), "    ")
                self._write(step, summary=self._summary.text(tag, text))

    def _picture(self, tag: str, png: bytes) -> Any:
        """A PNG as it is; its head holds width and height."""
        width, height = struct.unpack(">II", png[16:24])
        image = self._summary.Summary.Image(
            width=width, height=height, colorspace=3, encoded_image_string=png
        )
        return self._summary.Summary(value=[self._summary.Summary.Value(tag=tag, image=image)])

    def close(self) -> None:
        self._writer.close()
