"""Seconds of whole commands on the 8x8 digits, from the start of the process to its end.

    python -m benchmarks.commands

A short run, the demo's training and its evaluation: with an empty cache of compiled programs, and
with a filled one. On a quiet machine.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.measuring import machine, write
from gen_jax import training

COMMANDS = {
    "experiments.diffusion --steps 10": "short",
    "experiments.diffusion": "demo",
    "experiments.evaluate": "demo",
}
"""Whole commands, in this order, and the directory of the run that each makes or evaluates."""


def command_seconds() -> dict[str, list[float]]:
    """Wall time of each command with an empty cache, then with a filled one."""
    result: dict[str, list[float]] = {command: [] for command in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
        for which, (command, run) in itertools.product(("first", "second"), COMMANDS.items()):
            option = [] if command == "experiments.evaluate" else ["--directory"]
            words = [*command.split(), *option, f"{folder}/{which}-{run}"]
            begun = time.perf_counter()
            line = [sys.executable, "-m", *words]
            subprocess.run(line, check=True, capture_output=True, env=environment)
            result[command].append(round(time.perf_counter() - begun, 1))
    return result


def main() -> None:
    facts = machine()
    seconds = command_seconds()
    for name, (first, second) in seconds.items():
        print(f"{name:42s} {first} s, with the cache {second} s")
    write("commands", facts, {"seconds": seconds})


if __name__ == "__main__":
    training.run_main(main)
