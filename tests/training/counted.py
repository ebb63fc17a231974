"""What the survey counts besides runs, and the record that it writes: tried, right."""

import functools
import os
import platform
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jax

from gen_jax.errors import ConfigError, DataError

TESTS = Path(__file__).parents[1]
WHAT = {
    "kills": "SIGKILL at nine markers of a run, which then is resumed",
    "signals": "five signals: at a step, in `on_sample`, in `evaluate`",
    "damages of files": "files of a step, each damaged in up to eight ways",
    "damages of identity": "foreign and renamed steps; config.json missing, odd, one digit changed",
    "edges": "standard streams, disks, odd files, moved directories",
    "doors": "wrong options and damaged runs on the command line; refusals of `fit`",
    "mistakes at functions": "wrong arguments of public functions",
    "callables of a wrong output": "networks and functions that a family is given",
}
"""What is counted, in the order of the table."""


def in_one_line(call, argument="", kinds=(ConfigError, DataError)):
    try:
        call()
    except kinds as error:
        return argument in str(error) and "\n" not in str(error)
    return False


def mistakes():
    """Wrong calls of public functions, and callables of a wrong output."""
    sys.path.insert(0, str(TESTS))
    import wrong_calls
    import wrong_fits
    from damaged import CALLABLES
    from damaged.common import fit

    calls = [(name, *row) for name, rows in wrong_calls.CALLS.items() for row in rows]
    fits = [(name, wrong) for name, rows in wrong_fits.FIT.items() for wrong in rows]
    calls += [("fit", name, functools.partial(wrong_fits.fit, **wrong)) for name, wrong in fits]
    counts = {"mistakes at functions": [0, 0], "callables of a wrong output": [0, 0]}

    def count(kind, good, *what):
        counts[kind][0] += 1
        counts[kind][1] += good
        if not good:
            print(kind, *what, flush=True)

    for name, word, call in calls:
        count("mistakes at functions", in_one_line(call, word), name, word)
    for name, (make, harms, arrays) in CALLABLES.items():
        for what, harm in harms.items():
            good = in_one_line(lambda: fit(make(harm), arrays), kinds=ConfigError)  # noqa: B023
            count("callables of a wrong output", good, name, what)
    return {kind: {"tried": tried, "right": right} for kind, (tried, right) in counts.items()}


def cases(folder, *paths):
    """The cases of test files, those that are slow too; what is skipped was not tried."""
    results = folder / "results.xml"
    words = ["-q", "-n0", f"--junitxml={results}", *paths]
    plain = {k: v for k, v in os.environ.items() if k != "GEN_JAX_MARKERS"}
    ended = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=TESTS.parent, env=plain)
    suite = next(ElementTree.parse(results).iter("testsuite")).attrib
    tried, wrong = int(suite["tests"]) - int(suite["skipped"]), ("failures", "errors")
    right = tried - sum(int(suite[name]) for name in wrong)
    assert (ended.returncode == 0) == (right == tried)
    return {"tried": tried, "right": right}


def record_of(words, counts):
    """The record of what was counted so far: a table, and what it was made with."""
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, capture_output=True, text=True, cwd=TESTS).stdout.strip()
    command, device = " ".join(["python tests/training/survey.py", *words]), os.cpu_count()
    rows = [(name, what) for name, what in WHAT.items() if name in counts]
    return {
        "kind": "table",
        "name": "reliability",
        "status": f"`{command}` at commit {commit}; {device} CPU cores, jax {jax.__version__}.",
        "columns": ["survey", "tried", "right"],
        "rows": [[f"{n}: {what}", counts[n]["tried"], counts[n]["right"]] for n, what in rows],
        "python": platform.python_version(),
    }
