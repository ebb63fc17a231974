"""Steps per second of one experiment in two checkouts, run in turns, with data on the device.

    git worktree add ../before COMMIT
    python -m benchmarks.training_speed ../before . --rounds 5

Both are run with this interpreter, each round in the other order. The rate of a run is the median
of its log without the first half, and that of a checkout the median of its runs. Run it on a quiet
machine: the spread of the rounds is printed beside the ratio.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.measuring import machine
from gen_jax.errors import ConfigError
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config:
    """Two checkouts, and what is trained in each."""

    before: Annotated[Path, tyro.conf.Positional]
    after: Annotated[Path, tyro.conf.Positional] = Path(".")
    experiment: str = "diffusion"
    options: str = "--dataset 8gaussians"
    """Of the experiment, such as --options="--dataset digits"."""
    steps: int = 4000
    rounds: int = 5
    output: Path | None = None
    """Where the numbers are written as JSON."""


def rate_of(checkout: Path, config: Config) -> float:
    """Steps per second of one training."""
    words = ("--steps", str(config.steps), "--log-every", "100", "--save-every", str(config.steps))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            sys.executable,
            "-m",
            f"experiments.{config.experiment}",
            *shlex.split(config.options),
        ]
        done = subprocess.run(
            [*command, *words, "--directory", str(run)],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ConfigError(f"{checkout} ended with exit code {done.returncode}: {done.stderr}")
        lines = (run / "metrics.jsonl").read_text().splitlines()
    rates = [r["steps_per_second"] for r in map(json.loads, lines) if "steps_per_second" in r]
    return statistics.median(rates[len(rates) // 2 :])


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    rates: dict[Path, list[float]] = {config.before: [], config.after: []}
    for i in range(config.rounds):
        for checkout in list(rates)[:: 1 if i % 2 == 0 else -1]:
            rates[checkout].append(rate_of(checkout, config))
            print(f"{checkout}: {rates[checkout][-1]:.2f} steps/s", flush=True)
    before, after = rates.values()
    ratios = [b / a for a, b in zip(before, after)]
    report: dict[str, Any] = {
        "machine": machine(),
        "before": statistics.median(before),
        "after": statistics.median(after),
        "ratio": statistics.median(after) / statistics.median(before),
        "ratio_of_rounds": [min(ratios), max(ratios)],
    }
    print(json.dumps(report, indent=1))
    if config.output is not None:
        config.output.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    run_main(main)
