"""All combinations of some options of an experiment, one run after another, then `compare`.

    python -m experiments.sweep diffusion --seed 0 1 2 --path vp cosine
    python -m experiments.sweep gan --loss hinge wgan --steps 1000 --evaluation "--num 500"

Each word after an option is one of its values; an option that takes several words has them in
quotes. Runs are kept below `--folder` (runs/sweep-EXPERIMENT). What has ended and was evaluated is
skipped, so that the same command goes on where it was stopped.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.shared.comparison import compare
from experiments.shared.sweep_plan import Plan, parse
from gen_jax import training
from gen_jax.errors import ConfigError, GenJaxError


def execute(command: str, words: Sequence[str]) -> int:
    """`python -m experiments.COMMAND WORDS` in a process of its own; its exit code."""
    return subprocess.run([sys.executable, "-m", f"experiments.{command}", *words]).returncode


def sweep(plan: Plan, execute: Callable[[str, list[str]], int] = execute) -> list[Path]:
    """Run and evaluate what is not done; returns the directories that ended well.

    Raises ConfigError where none did.
    """
    done = []
    for i, (directory, words) in enumerate(plan.runs.items(), 1):
        print(f"[{i}/{len(plan.runs)}] {directory}", flush=True)
        code = 0
        if not (directory / "DONE").exists():
            code = execute(plan.experiment, [*words, "--directory", str(directory)])
        if not code and not (directory / "evaluation.json").exists():
            code = execute("evaluate", [str(directory), *plan.evaluation])
        if code:
            print(f"[{i}/{len(plan.runs)}] {directory} ended with exit code {code}", flush=True)
        else:
            done.append(directory)
    if not done:
        raise ConfigError(f"none of the {len(plan.runs)} runs ended well")
    return done


def main() -> None:
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print(__doc__)
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
