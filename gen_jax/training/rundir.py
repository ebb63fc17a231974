"""A run directory: enough by itself to resume, sample, evaluate and report.

config.json, environment.json, metrics.jsonl, TensorBoard events, checkpoints/, samples/,
report.json, report.html, and DONE when the run has ended.
"""

import fcntl
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from gen_jax.errors import CheckpointError, ConfigError, ResourceError
from gen_jax.training import sharding
from gen_jax.training.console import warn
from gen_jax.training.files import plain, write_atomic, write_json

PACKAGES = ("gen_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
MAY_CHANGE = frozenset(
    {"steps", "directory", "save_every", "log_every", "sample_every", "keep", "cpu_devices"}
)
"""Fields that do not change what a run computes up to a given step."""


def environment() -> dict[str, Any]:
    """Versions, devices and the command line."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "backend": jax.default_backend(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "command": sys.argv,
        "commit": _commit(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    here = Path(__file__).parent
    try:
        found = subprocess.run(command, capture_output=True, text=True, cwd=here, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    result: dict[str, Any] = {}
    for name, value in config.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        result |= {f"{prefix}{name}": value} if inner is None else inner
    return result


def differences(old: dict[str, Any], new: dict[str, Any], allowed: Iterable[str]) -> list[str]:
    """ "name: old -> new" for each field that differs and may not; `allowed` are last names."""
    old, new = flat(old), flat(new)
    allowed = set(allowed)
    names = sorted(old.keys() | new.keys())
    free = lambda n: n.removeprefix("config.") in MAY_CHANGE or n.split(".")[-1] in allowed
    changed = [n for n in names if old.get(n) != new.get(n) and not free(n)]
    return [f"{name}: {old.get(name)!r} -> {new.get(name)!r}" for name in changed]


class RunDirectory:
    """An open, locked run directory; close it to release the lock."""

    def __init__(self, path: str | Path, config: dict[str, Any], allow_changed: Iterable[str] = ()):
        """Create or reopen.

        Raises ConfigError when the configuration differs from the stored one, CheckpointError when
        another process holds the directory, ResourceError when it cannot be written.
        """
        self.path = Path(path).absolute()
        self.started = time.monotonic()
        self._metrics: Any = None
        self._events: Any = None
        self._log_failed = False
        try:
            for name in ("samples", "checkpoints"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / ".lock", "a")  # noqa: SIM115
        except OSError as error:
            raise ResourceError(
                f"directory={str(self.path)!r} cannot be written ({error.strerror})"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise CheckpointError(f"{self.path} is in use by another run") from error
        try:
            self._check_config(plain(config), allow_changed)
            self._check_environment()
        except OSError as error:
            self.close()
            raise ResourceError(
                f"directory={str(self.path)!r} cannot be written ({error.strerror})"
            ) from error
        except BaseException:
            self.close()
            raise

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error

    def _check_config(self, config: dict[str, Any], allow_changed: Iterable[str]) -> None:
        old = self._read("config.json")
        changed = differences(old, config, allow_changed) if old else []
        if changed:
            raise ConfigError(
                f"{self.path} holds a run with another configuration: {'; '.join(changed)} "
                "(choose another directory, or allow the change by name)"
            )
        write_json(self.path / "config.json", config)

    def _check_environment(self) -> None:
        old, new = self._read("environment.json"), plain(environment())
        history = (old or {}).get("history", [])
        if old:
            for name in ("packages", "devices", "python", "commit"):
                if old.get(name) != new[name]:
                    warn(f"{name} changed since this run began: {old.get(name)} -> {new[name]}")
            history = [*history, {k: v for k, v in old.items() if k != "history"}]
        write_json(self.path / "environment.json", {**new, "history": history})

    def check_new(self) -> None:
        """For a run that starts from nothing: say so if it had come further.

        Raises CheckpointError when it had ended: its checkpoints were removed.
        """
        if (self.path / "DONE").exists():
            raise CheckpointError(
                f"{self.path} holds a run that has ended, but no checkpoint; choose another "
                "directory, or remove this one to start again"
            )
        metrics = self.path / "metrics.jsonl"
        if metrics.exists() and metrics.stat().st_size:
            warn(f"{self.path} has metrics but no checkpoint: it starts again from step 0")

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines after `step`, and a torn last line."""
        path, kept = self.path / "metrics.jsonl", []
        if not path.exists():
            return
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("step", step + 1) <= step:
                kept.append(line + "\n")
        write_atomic(path, "".join(kept))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """One line of metrics.jsonl, flushed, and the same numbers for TensorBoard.

        A disk that is full costs a warning and, should it last, the lines; not the run.
        """
        metrics = {name: float(value) for name, value in metrics.items()}
        try:
            if self._events is None:
                self._open_logs(step)
            self._metrics.write(json.dumps({"step": step, **plain(metrics)}) + "\n")
            self._metrics.flush()
            self._events.write(step, metrics)
        except OSError as error:
            if not self._log_failed:
                warn(f"metrics cannot be written ({error.strerror}); training goes on")
            self._log_failed = True
        else:
            self._log_failed = False

    def _open_logs(self, step: int) -> None:
        from gen_jax.training.events import Events

        if self._metrics is None:
            self._metrics = open(self.path / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self._events = Events(self.path / "tensorboard", step)

    def close(self) -> None:
        """Flush everything and release the lock."""
        for open_file in (self._metrics, self._events, self._lock):
            try:
                if open_file is not None:
                    open_file.close()
            except OSError as error:
                warn(f"{self.path}: the last metrics are lost ({error.strerror})")


def open_on_first(
    path: str | Path, config: dict[str, Any], allow_changed: Iterable[str]
) -> RunDirectory | None:
    """The run directory on process 0, which alone writes to it; None on the others."""
    opened: list[RunDirectory] = []

    def open_run() -> int:
        opened.append(RunDirectory(path, config, allow_changed))
        return 0

    sharding.decided_by_first(open_run)
    return opened[0] if opened else None


def mark_done(path: Path, step: int) -> None:
    """Write DONE, holding the last step."""
    write_atomic(path / "DONE", f"{step}\n")


def mark_running(path: Path) -> None:
    """Remove DONE of an earlier, shorter run."""
    try:
        os.unlink(path / "DONE")
    except FileNotFoundError:
        return
