"""Training tests share a tiny model (`import tiny`) and draw no curves unless they ask for them."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gen_jax.training import session
from gen_jax.training.stopping import SIGNALS


@pytest.fixture(autouse=True, scope="module")
def compiled_as_for_users(module_as_users_compile):
    """No short cut of the tests' own between two runs that must be equal."""


@pytest.fixture(autouse=True)
def same_signals():
    """A script that was asked to stop ignores some signals to its end; here others follow."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """The report at the end of a run costs half a second; returns what brings it back."""
    original = session.write_report
    monkeypatch.setattr(session, "write_report", lambda path, numbers: None)
    return lambda: monkeypatch.setattr(session, "write_report", original)
