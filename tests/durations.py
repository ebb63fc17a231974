"""What `make test` leaves to `make slow`: tests that were measured to take long.

`make durations` runs every test, measures its CPU seconds and writes slow.json. A test function
whose cheapest case takes long is slow; of the others, further cases that take long are, and the
cheapest stays. What was never measured is not slow by this rule.
"""

import json
import os
import resource
from collections import defaultdict
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("slow.json")
FUNCTION_LIMIT = 1.5
"""CPU seconds of the cheapest case of a test function."""
CASE_LIMIT = 0.4
"""CPU seconds of a further case of a test function."""

_measured: dict[str, float] = {}
_before = 0.0


def slow_tests(seconds: dict[str, float]) -> dict[str, float]:
    """Those of the measured tests that take long, by the limits."""
    cases = defaultdict(list)
    for test in seconds:
        cases[test.partition("[")[0]].append(test)
    slow = []
    for group in cases.values():
        first, *further = sorted(group, key=seconds.__getitem__)
        slow += [test for test in further if seconds[test] > CASE_LIMIT]
        if seconds[first] > FUNCTION_LIMIT:
            slow = [test for test in slow if test not in group] + group
    return {test: round(seconds[test], 1) for test in sorted(slow)}


def cpu_seconds() -> float:
    """CPU seconds of this process and of its ended children so far."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def pytest_collection_modifyitems(items):
    slow = {} if "GEN_JAX_DURATIONS" in os.environ else json.loads(FILE.read_text())
    for item in items:
        if item.nodeid in slow and not item.get_closest_marker("essential"):
            item.add_marker(pytest.mark.slow)


def pytest_runtest_logstart():
    global _before
    _before = cpu_seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    global _before
    report = yield
    now = cpu_seconds()
    report.cpu_seconds, _before = now - _before, now
    return report


def pytest_runtest_logreport(report):
    if report.when == "call":
        _measured[report.nodeid] = report.cpu_seconds


def pytest_sessionfinish(session):
    if "GEN_JAX_DURATIONS" in os.environ and not hasattr(session.config, "workerinput"):
        FILE.write_text(json.dumps(slow_tests(_measured), indent=0) + "\n")
