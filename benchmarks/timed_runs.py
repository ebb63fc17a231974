"""Runs of experiments that end after so many CPU seconds of their own process.

CPU seconds are those of all threads, from the start of the process: imports, tracing and
compilation count, and programs compiled earlier are not used. SIGTERM ends a run: it saves and ends
with 75. Learning rates fall over `--steps`, so a short run is made first that measures the pace;
what it costs is not counted.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gen_jax.errors import ConfigError, GenJaxError, NumericalError, Stopped
from gen_jax.training.fit import MAX_STEPS

POLL_SECONDS = 0.1
LINE = 20
"""Steps between two lines of the log of a run that measures the pace."""
PACE_SECONDS, PACE_SHARE = 4.0, 0.05
"""CPU seconds that the pace is measured over; this share of the budget where that is more."""
MARGIN = 1.03
"""Steps that are asked for over those expected, so that the time ends the run, not the steps."""


class Ended(NamedTuple):
    """How a run ended: its directory, its CPU seconds, and whether it diverged."""

    directory: Path
    cpu_seconds: float
    diverged: bool = False


def cpu_seconds_of(process: int) -> float:
    """CPU seconds of a running process, all threads. Raises ConfigError without Linux's /proc."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise ConfigError(f"CPU time is read from /proc, which is not there ({error})") from error
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def execute(
    words: Sequence[str], directory: Path, stop: Callable[[float], bool], env: dict | None = None
) -> Ended:
    """`python -m experiments.WORDS --directory DIRECTORY` until it ends or `stop(CPU seconds)`.

    What it prints is kept in DIRECTORY.log. Raises GenJaxError with its last line where it failed
    otherwise than by diverging.
    """
    command = [sys.executable, "-m", f"experiments.{words[0]}", *words[1:]]
    before, asked = _of_children(), False
    directory.parent.mkdir(parents=True, exist_ok=True)
    log = directory.parent / f"{directory.name}.log"
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false", **(env or {})}
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            [*command, "--directory", str(directory)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        ) as process,
    ):
        try:
            while process.poll() is None:
                done = (directory / "DONE").exists()  # its pictures are not waited for
                if not asked and (done or stop(cpu_seconds_of(process.pid))):
                    asked = True
                    process.send_signal(signal.SIGTERM)
                time.sleep(POLL_SECONDS)
        except BaseException:
            process.kill()
            raise
    spent, code = _of_children() - before, process.returncode
    ended_well = code in (0, Stopped.exit_code) or (directory / "DONE").exists()
    if not ended_well and code != NumericalError.exit_code:
        lines = log.read_text(encoding="utf-8").strip().splitlines() or [""]
        raise GenJaxError(f"{' '.join(words)} ended with {code}: {lines[-1]} (see {log})")
    return Ended(directory, round(spent, 2), not ended_well)


def _lines(path: Path) -> list[int]:
    """Steps of the lines of a log that is being written."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line)["step"])
        except ValueError:  # the last line, half written
            break
    return found


class Pace(NamedTuple):
    """CPU seconds before the first step, compilation among them, and of a step."""

    start: float
    step: float

    def steps(self, cpu_seconds: float) -> int:
        """Steps in so many CPU seconds of a process. Raises ConfigError for none."""
        count = int((cpu_seconds - self.start) / self.step)
        if count < 1:
            raise ConfigError(
                f"{cpu_seconds:.0f} CPU seconds are too few: the start takes {self.start:.1f}, "
                f"a step {self.step:.2g}"
            )
        return count


def pace(words: Sequence[str], directory: Path, cpu_seconds: float) -> Pace:
    """Measured by a run of its own in `directory`, which is removed. Raises NumericalError where
    that diverges."""
    seen: list[tuple[int, float]] = []
    needed = max(PACE_SECONDS, PACE_SHARE * cpu_seconds)

    def stop(cpu: float) -> bool:
        steps = _lines(directory / "metrics.jsonl")
        if steps and (not seen or steps[-1] > seen[-1][0]):
            seen.append((steps[-1], cpu))
        return len(seen) > 1 and seen[-1][1] - seen[0][1] >= needed

    shutil.rmtree(directory, ignore_errors=True)
    options = ("--steps", str(MAX_STEPS), "--save-every", str(MAX_STEPS), "--log-every", str(LINE))
    ended = execute([*words, *options], directory, stop)
    shutil.rmtree(directory, ignore_errors=True)
    if len(seen) < 2:
        raise NumericalError(f"{' '.join(words)} ended before its pace was known: {ended}")
    (first, begun), (last, now) = seen[0], seen[-1]
    step = (now - begun) / (last - first)
    return Pace(max(begun - first * step, 0.0), step)


def known_pace(
    words: Sequence[str], directory: Path, cpu_seconds: float, paces: Path | None
) -> Pace:
    """`pace`, or what the file `paces` has for these words; what is measured is added to it."""
    stored = json.loads(paces.read_text(encoding="utf-8")) if paces and paces.exists() else {}
    name = " ".join(words)
    if name not in stored:
        stored[name] = pace(words, directory, cpu_seconds)
        if paces is not None:
            paces.parent.mkdir(parents=True, exist_ok=True)
            paces.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return Pace(*stored[name])


def train(
    words: Sequence[str],
    seed: int,
    directory: Path,
    cpu_seconds: float,
    paces: Path | None = None,
    watch: Callable[[float], None] | None = None,
    save_seconds: float | None = None,
) -> Ended:
    """Train for `cpu_seconds`, or for the `--steps` among `words` where that is less.

    Args:
      words: experiment and options. With `--steps` the run ends by itself, and no pace is measured
        unless checkpoints are kept by time.
      directory: of the run, made anew.
      paces: a file that keeps the paces of all words, which other seeds share.
      watch: called with the CPU seconds so far, every POLL_SECONDS.
      save_seconds: keep a checkpoint about every so many CPU seconds; only the last if not given.
    """
    more, own_steps = list[str](), "--steps" in {word.partition("=")[0] for word in words}
    if not own_steps or save_seconds is not None:
        try:
            place = directory.parent / f"{directory.name}-pace"
            found = known_pace(words, place, cpu_seconds, paces)
        except NumericalError:
            return Ended(directory, 0.0, True)
        if not own_steps:
            more += ["--steps", str(int(MARGIN * found.steps(cpu_seconds)) + 1)]
        if save_seconds is not None:
            every = max(int(save_seconds / found.step), 1)
            more += ["--save-every", str(every), "--keep", "1000"]
    if save_seconds is None:
        more += ["--save-every", str(MAX_STEPS)]

    def stop(cpu: float) -> bool:
        if watch is not None:
            watch(cpu)
        return cpu >= cpu_seconds

    shutil.rmtree(directory, ignore_errors=True)
    return execute([*words, "--seed", str(seed), *more], directory, stop)
