"""All combinations of some options of an experiment, one run after another, then `compare`.

    python -m experiments.sweep diffusion --seed 0 1 2 --path vp cosine
    python -m experiments.sweep gan --loss hinge wgan --steps 1000 --evaluation "--num 500"

Each word after an option is one of its values; an option that takes several words has them in
quotes. Runs are kept below `--folder` (runs/sweep-EXPERIMENT). What has ended, and was evaluated
there as `--evaluation` says, is skipped: the same command goes on where it was stopped. A signal
that asks to stop is passed on, so that the run under way is saved.
"""

import contextlib
import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.shared import records
from experiments.shared.command_line import program
from experiments.shared.comparison import compare
from experiments.shared.sweep_plan import Plan, parse
from gen_jax import training
from gen_jax.errors import ConfigError, GenJaxError, Stopped
from gen_jax.training.files import read_json
from gen_jax.training.identity import RUN
from gen_jax.training.stopping import StopRequest

ASKED = "sweep.json"
"""In a run's directory: what its evaluation was asked for."""


def execute(command: str, words: Sequence[str]) -> int:
    """`python -m experiments.COMMAND WORDS` in a process of its own; its exit code.

    Raises Stopped, once that process has ended, after a signal that asks to stop. It is passed on
    as one that may come twice: a terminal sends Ctrl-C to both processes.
    """
    with StopRequest() as stop:
        process = subprocess.Popen([sys.executable, "-m", f"experiments.{command}", *words])
        passed_on = False
        while process.poll() is None:
            if stop.asked and not passed_on:
                process.send_signal(signal.SIGUSR1)
                passed_on = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.1)
    if stop.asked or process.returncode == Stopped.exit_code:
        raise Stopped(f"in {command}; the same command goes on")
    return process.returncode


def made_by(directory: Path, words: list[str]) -> list[Any]:
    """What says that evaluation.json is of the run as it is now, and was made with these words.

    Raises OSError, CheckpointError and ConfigError where there is none, or no run.
    """
    numbers = hashlib.sha256((directory / records.EVALUATION).read_bytes()).hexdigest()
    step = (directory / "DONE").read_text(encoding="utf-8")
    return [words, numbers, step, training.read_config(directory).get(RUN)]


def is_evaluated(directory: Path, words: list[str]) -> bool:
    with contextlib.suppress(OSError, ValueError, GenJaxError):
        return read_json(directory / ASKED) == made_by(directory, words)
    return False


def sweep(plan: Plan, execute: Callable[[str, list[str]], int] = execute) -> list[Path]:
    """Run and evaluate what is not done; returns the directories that ended well.

    Raises ConfigError where none did.
    """
    done = []
    for i, (directory, words) in enumerate(plan.runs.items(), 1):
        title, begun = f"[{i}/{len(plan.runs)}] {directory}", time.monotonic()
        code, ended = 0, "was done already"
        if not (directory / "DONE").exists():
            print(f"{title}: training", flush=True)
            code = execute(plan.experiment, [*words, "--directory", str(directory)])
            ended = ""
        if not code and not is_evaluated(directory, plan.evaluation):
            print(f"{title}: evaluating", flush=True)
            code = execute("evaluate", [str(directory), *plan.evaluation])
            ended = ""
            if not code:
                training.write_json(directory / ASKED, made_by(directory, plan.evaluation))
        if code:
            ended = f"ended with exit code {code}"
        else:
            done.append(directory)
        print(f"{title}: {ended or f'done in {time.monotonic() - begun:.0f} s'}", flush=True)
    if not done:
        raise ConfigError(f"none of the {len(plan.runs)} runs ended well")
    return done


def main() -> None:
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print(f"usage: {program(sys.argv)} EXPERIMENT [OPTIONS]\n\n{__doc__}")
        return
    plan = parse(sys.argv[1:])
    done = sweep(plan)
    page = plan.folder / "compare.html"
    print(compare(done, page))
    print(f"written: {page}")
    if len(done) < len(plan.runs):
        raise GenJaxError(f"{len(plan.runs) - len(done)} of {len(plan.runs)} runs did not end well")


if __name__ == "__main__":
    training.run_main(main)
