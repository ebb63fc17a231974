"""A run that is moved, and another that gets its name, while it is read: nothing goes astray."""

import shutil

import pytest

from experiments.shared import runner
from gen_jax import training
from gen_jax.errors import CheckpointError

WORDS = {
    "sample": ("--num", 2),
    "evaluate": ("--num", 10, "--likelihood", 0),
    "human": ("--num", 2),
}
"""Commands whose samples take their time, and what they write into the directory of the run."""


@pytest.fixture
def replaced(digits_run, tmp_path, monkeypatch):
    """The name of a run that another gets at a call of `replaced.now()`."""

    class Replaced:
        path = shutil.copytree(digits_run, tmp_path / "run")

        def now(self):
            self.path.rename(tmp_path / "old")
            shutil.copytree(digits_run, self.path)
            config = training.read_config(self.path)
            config["run_identity"] = "another"
            content = {name: value for name, value in config.items() if name != "sha256"}
            digest = training.identity.digest_of(content)
            training.write_json(self.path / "config.json", {**content, "sha256": digest})

        def files(self):
            return sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*.*"))

    return Replaced()


@pytest.mark.parametrize("name", WORDS)
def test_nothing_is_written_into_another_run(command, digits_run, replaced, monkeypatch, name):
    draw = runner.pictures.draw

    def slow(*given, **options):
        samples = draw(*given, **options)
        replaced.now()
        return samples

    monkeypatch.setattr(f"experiments.{name}.draw", slow)
    before = replaced.files()
    ended = command(name, replaced.path, *WORDS[name])
    assert ended.code == 4
    assert "was moved, removed or replaced" in ended.err
    assert replaced.files() == before


def test_the_state_is_that_of_the_configuration(replaced, monkeypatch):
    """The other run may differ in an option that no shape shows."""
    build = runner.untrained

    def slow(*given):
        found = build(*given)
        replaced.now()
        return found

    monkeypatch.setattr(runner, "untrained", slow)
    with pytest.raises(CheckpointError):
        runner.rebuild(replaced.path)
