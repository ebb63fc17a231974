"""Frameworks side by side: each in a process of its own, taking turns on one machine.

So a disturbance of the machine hits all of them, and neither's threads stand in the other's way.
"""

import json
import os
import subprocess
import sys
import time

from gen_jax.errors import ConfigError


def serve(description: dict, run) -> None:
    """Warm up, print a description; for each line "n", print the seconds per step of n steps."""
    run(3)
    print(json.dumps(description), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        run(int(line))
        print((time.perf_counter() - start) / int(line), flush=True)


class Worker:
    """A process that times steps on request, and what it has measured."""

    def __init__(self, module, *arguments):
        command = [sys.executable, "-m", module, "--worker", *arguments]
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([*map(str, command)], env=environment, **pipes)
        self.description = json.loads(self._read())
        self.times = []

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise ConfigError("a worker process ended early; its message is above")
        return line

    def time(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self._read())

    def turn(self, seconds):
        steps = max(1, round(seconds / min(self.times))) if self.times else 1
        self.times.append(self.time(steps))

    def close(self):
        self.process.stdin.close()
        self.process.wait()
