"""The run that another one starts from: whose weights they are is said, and compared."""

import json
import shutil

import pytest

from experiments.shared import provenance, runner
from experiments.shared.registry import find
from gen_jax import training
from gen_jax.errors import ConfigError
from gen_jax.training.leaves import digest_of_state

WORDS = ("--dataset", "8gaussians", "--batch-size", 16, "--components", 2)


@pytest.fixture
def family(command, tmp_path):
    """`family(STEPS, *words)` trains a run that starts from `base`, which is trained first."""

    def base(seed):
        shutil.rmtree(tmp_path / "base", ignore_errors=True)
        words = (*WORDS, "--steps", 2, "--seed", seed, "--directory", tmp_path / "base")
        assert command("mixture", *words).code == 0

    def train(steps, *words):
        run = ("--from", tmp_path / "base", "--directory", tmp_path / "run")
        return command("mixture", *WORDS, "--steps", steps, *run, *words)

    train.base = base
    base(0)
    return train


def test_a_parent_that_was_trained_anew_is_refused(family, tmp_path):
    """It went on with its own weights, and named the new parent in silence."""
    assert family(2).code == 0
    assert (
        f"from: step 2 of {tmp_path / 'base'}\n" in family(2, "--directory", tmp_path / "other").out
    )
    before = json.loads((tmp_path / "run/config.json").read_text())["from"]
    family.base(0)  # the same weights again
    ended = family(3)
    assert ended.code == 0, ended.err
    assert "the run resumes with its own weights" in ended.out
    family.base(1)
    ended = family(4)
    assert (ended.code, ended.err.strip().count("\n")) == (ConfigError.exit_code, 0), ended.err
    assert "it was trained anew (choose another directory, or --allow-changed initial" in ended.err
    ended = family(4, "--allow-changed", provenance.INITIAL)
    assert ended.code == 0, ended.err
    assert "trained anew; this run goes on with the weights in itself" in ended.err
    assert json.loads((tmp_path / "run/config.json").read_text())["from"] == before


def test_a_frozen_base_is_compared_as_well(family, tmp_path):
    """Whatever experiment freezes it, before its model is built."""
    assert family(2).code == 0
    above = find("mixture")._replace(bases=("mixture",))
    config = above.config(
        dataset="8gaussians",
        batch_size=16,
        components=2,
        initial_run=str(tmp_path / "base"),
        directory=str(tmp_path / "run"),
    )
    begun = runner.start(above, config).fit_options["config"]["from"]
    assert begun[provenance.INITIAL] == digest_of_state(runner.rebuild(tmp_path / "base").state)
    family.base(1)
    with pytest.raises(ConfigError, match="step 2 of .* was trained anew"):
        runner.start(above, config)


def test_runs_of_before_name_no_weights(family, tmp_path, capsys):
    assert family(2).code == 0
    run = tmp_path / "run"
    stored = training.read_config(run)
    del stored["from"][provenance.INITIAL]
    content = {name: value for name, value in stored.items() if name != "sha256"}
    digest = training.identity.digest_of(content)
    training.write_json(run / "config.json", {**content, "sha256": digest})
    saved = runner.rebuild(tmp_path / "base")
    assert provenance.origin(saved, run, ()) == {"run": "mixture", "step": 2}
    assert "does not say which weights it started from" in capsys.readouterr().err
