"""A training run in a process of its own, killed or stopped at a marker that it prints.

    python harness.py DIRECTORY '{"steps": 12}'

runs the tiny model through `run_main`. `GEN_JAX_MARKERS=1` makes it print `MARK name step` on
stderr: start, step, save (begun), commit (arrays written), saved (durable), clean (old step goes).
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def command(directory, **options) -> list[str]:
    return [sys.executable, str(HERE / "harness.py"), str(directory), json.dumps(options)]


def environment(**extra) -> dict[str, str]:
    cache = os.environ.get("GEN_JAX_TEST_CACHE") or Path.home() / ".cache" / "gen_jax" / "test-jax"
    return {
        **os.environ,
        "GEN_JAX_MARKERS": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(HERE.parents[1]),
        **extra,
    }


def run_until(directory, name, step, number=signal.SIGKILL, times=1, delay=0.0, **options):
    """Start a run, send it a signal `delay` seconds after `MARK name step`, and wait for its end.

    `step` is the least that counts. Returns (exit code, lines of stderr, whether it was hit).
    """
    process = subprocess.Popen(
        command(directory, **options), env=environment(), stderr=subprocess.PIPE, text=True
    )
    lines, hit = [], False
    try:
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            words = lines[-1].split()
            if not hit and words[:2] == ["MARK", name] and int(words[2]) >= step:
                hit = True
                time.sleep(delay)
                process.send_signal(number)
                for _ in range(times - 1):
                    time.sleep(0.3)
                    process.send_signal(number)
        return process.wait(timeout=60), lines, hit
    finally:
        process.kill()
        process.stderr.close()


def acknowledged(lines: list[str]) -> int:
    """The newest step that the run said was saved."""
    return max((int(line.split()[2]) for line in lines if line.startswith("MARK saved")), default=0)


def main() -> None:
    sys.path.insert(0, str(HERE))
    import tiny

    from gen_jax.training import session
    from gen_jax.training.console import mark

    options = json.loads(sys.argv[2])
    if options.pop("hang", False):

        def on_sample(step, state):
            mark("sample", step)
            time.sleep(60)

        options |= {"sample_every": 1, "on_sample": on_sample}
    if "wait" in options:
        at, file = options.pop("wait")

        def wait(step, state):
            if step == at:
                mark("sample", step)
                while not Path(file).exists():
                    time.sleep(0.02)

        options |= {"sample_every": 1, "on_sample": wait}
    if "nap" in options:
        seconds = options.pop("nap")
        options |= {"sample_every": 1, "on_sample": lambda step, state: time.sleep(seconds)}
    session.write_report = lambda path, numbers: None
    tiny.train(Path(sys.argv[1]), **options)


if __name__ == "__main__":
    from gen_jax.training import run_main

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and children inherit that
    run_main(main)
