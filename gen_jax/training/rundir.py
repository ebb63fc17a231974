"""A run directory: enough by itself to resume, sample, evaluate and report.

config.json, environment.json, metrics.jsonl, TensorBoard events, checkpoints/, samples/,
report.json, report.html, and DONE when the run has ended.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gen_jax.checks import check_path, no_type_check
from gen_jax.errors import CheckpointError, ConfigError, GenJaxError, ResourceError
from gen_jax.training import sharding
from gen_jax.training.console import warn
from gen_jax.training.environment import changes, environment
from gen_jax.training.files import plain, read_json, write_json
from gen_jax.training.identity import (
    CONFIG,
    RUN,
    Identity,
    WrongConfig,
    body,
    identity_of,
    read_config,
    sealed,
)
from gen_jax.training.manifest import read_manifest
from gen_jax.training.place import Place
from gen_jax.training.restoring import check_not_all_foreign, saved_steps
from gen_jax.writing import GUARDED, write_text

METRICS, ENVIRONMENT, DONE = "metrics.jsonl", "environment.json", "DONE"
DIGESTS = ("digests.", "fit.data_")
"""How the names of the data's digests begin: of the named data set, and of the arrays of `fit`."""
OPENED: dict[Path, Identity] = {}
"""The runs that this process has opened or read, by the names they had."""
MAY_CHANGE = frozenset(
    {
        "allow_changed",
        "cpu_devices",
        "directory",
        "keep",
        "log_every",
        "sample_every",
        "save_every",
        "steps",
    }
)
"""Fields that do not change what a run computes up to a given step."""


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    result: dict[str, Any] = {}
    for name, value in config.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        result |= {f"{prefix}{name}": value} if inner is None else inner
    return result


def not_recorded(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Digests of data, by dotted name, of a kind of which an older run recorded none."""
    kinds = [kind for kind in DIGESTS if not any(name.startswith(kind) for name in flat(old))]
    return [name for name in flat(new) if name.startswith(tuple(kinds))]


def differences(
    old: dict[str, Any],
    new: dict[str, Any],
    allowed: Iterable[str],
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """ "name: old -> new" for each field that differs and may not.

    Args:
      allowed: last names of fields that may differ.
      renamed: fields of `old` that `new` has by another name, with dots: old -> new.
    """
    unknown = set(not_recorded(old, new))
    old, new = {renamed.get(name, name): value for name, value in flat(old).items()}, flat(new)
    allowed = set(allowed)
    names = sorted((old.keys() | new.keys()) - unknown)
    may = MAY_CHANGE | {f"{part}.{name}" for part in ("config", "fit") for name in MAY_CHANGE}
    free = lambda n: n in may or n.split(".")[-1] in allowed
    changed = [n for n in names if old.get(n) != new.get(n) and not free(n)]
    return [f"{name}: {old.get(name)!r} -> {new.get(name)!r}" for name in changed]


def last_names(changed: list[str]) -> list[str]:
    """What `allowed` calls the fields of these `differences`."""
    return sorted({line.split(":")[0].split(".")[-1] for line in changed})


class RunDirectory:
    """An open, locked run directory; close it to release the lock.

    It is written through `place.held`, and so wherever it is moved. Messages name `path`.
    """

    def __init__(
        self,
        path: str | Path,
        config: dict[str, Any],
        allow_changed: Iterable[str] = (),
        renamed: Mapping[str, str] = MappingProxyType({}),
    ):
        """Create or reopen; `renamed` as in `differences`.

        Raises ConfigError when the configuration differs from the stored one, CheckpointError when
        another process holds the directory or its config.json is not that of its checkpoints,
        ResourceError when it cannot be written.
        """
        self.path = Path(path).absolute()
        self.started = time.monotonic()
        self._metrics: Any = None
        self._events: Any = None
        self._log_failed = False
        try:
            for name in ("samples", "checkpoints"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            self.place = Place(self.path)
        except OSError as error:
            raise self._cannot_be_written(error) from error
        self._folder = self.place.held
        try:
            stored = self._check_config(plain(config), allow_changed, renamed)
            self._check_environment()
            self.place.watch()
        except OSError as error:
            self.close()
            raise self._cannot_be_written(error) from error
        except BaseException:
            self.close()
            raise
        self.identity, self._config = identity_of(stored), body(stored)
        remember(self.path, stored)

    def _cannot_be_written(self, error: OSError) -> ResourceError:
        return ResourceError(f"directory={str(self.path)!r} cannot be written ({error.strerror})")

    def _check_config(
        self, config: dict[str, Any], allow_changed: Iterable[str], renamed: Mapping[str, str]
    ) -> dict[str, Any]:
        """What config.json holds from now on."""
        try:
            old = read_config(self._folder, self.path)
        except ConfigError:
            old = None
        if old is None:
            new = sealed(config)
        elif body(old) == config and RUN in old:
            return old
        else:
            self._check_whose(old)
            changed = differences(body(old), config, allow_changed, renamed)
            if changed:
                raise ConfigError(
                    f"{self.path} holds a run with another configuration: {'; '.join(changed)} "
                    "(choose another directory, or accept it: "
                    f"--allow-changed {' '.join(last_names(changed))}, allow_changed of fit)"
                )
            self._say_steps(old, config)
            if not_recorded(old, config):
                warn(
                    f"{self.path} has no digests of its data, which older runs did not record: "
                    "that they are still the same cannot be said; today's are recorded"
                )
            new = sealed(config, old)
        write_json(self._folder / CONFIG, new)
        return new

    def _check_whose(self, old: dict[str, Any]) -> None:
        """Raise CheckpointError where config.json is not that of the checkpoints.

        Without a seal it is an old one: no step may have an identity.
        """
        steps = saved_steps(self._folder)
        check_not_all_foreign(self.path, steps, identity_of(old))
        for step in steps:
            try:
                read_manifest(self.path / "checkpoints" / str(step), identity_of(old))
            except WrongConfig:
                raise
            except CheckpointError:
                continue  # damaged, which is dealt with when it is restored

    def _say_steps(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        before, now = (flat(each).get("fit.steps") for each in (old, new))
        if before != now and None not in (before, now) and saved_steps(self._folder):
            warn(
                f"steps={now}, but this run was planned for {before}: a schedule over the steps "
                "(of the learning rate, say) changes from here on, so the result is not that of "
                f"one run of {now}"
            )

    def _check_environment(self) -> None:
        """Say what changed since the last part of the run; a damaged record is replaced."""
        new, old = plain(environment()), self._last_environment()
        for line in changes(old, new):
            warn(line)
        history = old.pop("history", [])
        history = history if isinstance(history, list) else []
        write_json(
            self._folder / ENVIRONMENT, {**new, "history": [*history, old] if old else history}
        )

    def _last_environment(self) -> dict[str, Any]:
        try:
            old = read_json(self._folder / ENVIRONMENT)
            if isinstance(old, dict):
                return old
            reason = f"it holds a {type(old).__name__}"
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        warn(f"{self.path / ENVIRONMENT} is damaged ({reason}): what changed cannot be said")
        return {}

    def check_new(self) -> None:
        """For a run that starts from nothing: say so if it had come further.

        Raises CheckpointError when it had ended: its checkpoints were removed.
        """
        if (self._folder / DONE).exists():
            raise CheckpointError(
                f"{self.path} holds a run that has ended, but no checkpoint; choose another "
                "directory, or remove this one to start again"
            )
        metrics = self._folder / METRICS
        if metrics.exists() and metrics.stat().st_size:
            warn(f"{self.path} has metrics but no checkpoint: it starts again from step 0")

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines after `step`, and what is no record of a step. Never raises OSError."""
        path, kept = self._folder / METRICS, []
        try:
            if not path.exists():
                return
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if _step_of_record(line) <= step:
                    kept.append(line + "\n")
            write_text(path, "".join(kept))
        except OSError as error:
            warn(f"{self.path / METRICS} cannot be cut back to step {step} ({error.strerror})")

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
        from gen_jax.training import events

        if self._metrics is None:
            self._metrics = open(self._folder / METRICS, "a", encoding="utf-8")  # noqa: SIM115
        self._events = events.opened(self._folder / events.FOLDER, step)
        self._events.configuration(step, self._config)

    def show_samples(self, step: int) -> None:
        """Samples of this step for TensorBoard. Raises OSError."""
        if self._events is None:
            self._open_logs(step)
        self._events.samples(step, self._folder)

    def write_report(self, write: Callable, numbers: dict[str, Any]) -> None:
        """`write(directory, numbers)`; a report that fails is a warning, the run is saved."""
        try:
            write(self._folder, numbers)
        except Exception as error:
            warn(f"the run is saved, its report is not ({self._named(error)})")

    def _named(self, error: Exception) -> str:
        return str(error).replace(str(self._folder), str(self.path))

    def has_report(self) -> bool:
        return (self._folder / "report.html").exists()

    def mark_done(self, step: int) -> None:
        """Write DONE, holding the last step. Raises ResourceError."""
        try:
            write_text(self._folder / DONE, f"{step}\n")
        except OSError as error:
            raise ResourceError(
                f"{self.path}: DONE cannot be written ({error.strerror})"
            ) from error

    def mark_running(self) -> None:
        """Remove DONE of an earlier, shorter run. Raises ResourceError."""
        try:
            (self._folder / DONE).unlink(missing_ok=True)
        except OSError as error:
            raise ResourceError(
                f"{self.path}: DONE cannot be removed ({error.strerror})"
            ) from error

    def close(self) -> None:
        """Flush everything and release the lock."""
        for open_file in (self._metrics, self._events, self.place):
            try:
                if open_file is not None:
                    open_file.close()
            except OSError as error:
                warn(f"{self.path}: the last metrics are lost ({error.strerror})")


def _step_of_record(line: str) -> float:
    """The step of a line of metrics.jsonl; infinite where there is none."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
    return step if type(step) in (int, float) else math.inf


def remember(path: Path, stored: dict[str, Any]) -> None:
    """From now on, what is written by this absolute name has to find the run that is there now."""
    OPENED[path] = identity_of(stored)
    GUARDED[path] = check_same_run


@no_type_check
def check_same_run(path: str | Path) -> None:
    """Raise CheckpointError where a run that this process opened or read has left its name.

    A folder may be moved while pictures are drawn; what `gen_jax.writing` writes asks by itself.
    """
    known = OPENED.get(check_path("path", path).absolute())
    try:
        same = known is None or identity_of(read_config(path)).run == known.run
    except GenJaxError:
        same = False
    if not same:
        raise CheckpointError(f"{path} was moved, removed or replaced since its run was opened")


def open_on_first(
    path: str | Path,
    config: dict[str, Any],
    allow_changed: Iterable[str],
    renamed: Mapping[str, str],
) -> RunDirectory | None:
    """The run directory on process 0, which alone writes to it; None on the others."""
    opened: list[RunDirectory] = []

    def open_run() -> int:
        opened.append(RunDirectory(path, config, allow_changed, renamed))
        return 0

    sharding.decided_by_first(open_run)
    return opened[0] if opened else None
