"""Frameworks side by side: each in a process of its own, taking turns on one machine.

So a disturbance of the machine hits all of them, and neither's threads stand in the other's way.
"""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax

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


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict:
    """What the numbers depend on."""
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    )
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    load = round(os.getloadavg()[0], 2)
    versions = {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "torch")}
    return {
        "device": jax.devices()[0].device_kind,
        "cpu": model or platform.processor(),
        "cores": cores(),
        "load_before": load,
        "python": platform.python_version(),
        **versions,
    }
