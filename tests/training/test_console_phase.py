"""What a log says of long work that a terminal shows by bars."""

import io

import pytest

from gen_jax.training import console


class Stream(io.StringIO):
    def __init__(self, watched):
        super().__init__()
        self.watched = watched

    def isatty(self):
        return self.watched


@pytest.mark.parametrize(("watched", "said"), [(False, "500 samples\n"), (True, "")])
def test_a_phase_is_a_line_of_a_log(monkeypatch, watched, said):
    stream = Stream(watched)
    monkeypatch.setattr("sys.stderr", stream)
    console.phase("500 samples")
    assert stream.getvalue() == said
