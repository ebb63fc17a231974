"""Studies at equal CPU time: their lines are experiments, what is kept, what the table says."""

import json
import shlex

import pytest
import tyro

from benchmarks import equal_time, measuring
from benchmarks.studies import STUDIES, Line, Study
from experiments.evaluate import Config as Evaluation
from experiments.shared.registry import EXPERIMENTS, find
from gen_jax.errors import ConfigError

LINES = {(name, line.name): line for name, study in STUDIES.items() for line in study.lines}


@pytest.mark.parametrize("at", LINES, ids=", ".join)
def test_a_line_is_a_registered_experiment_with_its_options(at):
    study, line = STUDIES[at[0]], LINES[at]
    experiment, *words = shlex.split(line.words)
    assert experiment in EXPERIMENTS
    dataset = ["--dataset", study.dataset]
    base = [] if line.base is None else ["--from", "runs/any"]
    tyro.cli(find(experiment).config, args=[*words, *dataset, *base]).check()
    for options in line.evaluations.values():
        asked = tyro.cli(Evaluation, args=["runs/any", *shlex.split(options)])
        asked.check()
        sampler = equal_time.sampling_of(["runs/any", *shlex.split(options)])
        assert (sampler.guidance, sampler.num_steps) == (asked.guidance, asked.num_steps)
    names = [other.name for other in study.lines]
    assert len(names) == len({*names})
    if line.base is not None:  # trained before it
        assert names.index(line.base) < names.index(line.name)


def test_an_unknown_study_or_line_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'latents-mnist'"):
        equal_time.Config("latents-mnst").check()
    with pytest.raises(ConfigError, match="lines='pixel'"):
        equal_time.Config("latents-mnist", ("pixel",)).check()


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    monkeypatch.setattr(measuring, "DOCS", tmp_path)
    monkeypatch.setattr(equal_time, "write_record", lambda record: records.append(record))
    first = Line("first", "vae", 1, {})
    second = Line("second", "latent_diffusion", 2, {"": "", ", twice": "--seed 2"}, base="first")
    made, records = [], []

    def make(config, line, before):
        made.append(line.name)
        spent = [60.0] if before is None else [*before["cpu_seconds"], 121.0]
        numbers = {
            "frechet": {"value": 0.5, "standard_error": 0.02},
            "frechet_real_train_test": 0.1,
            equal_time.COST: 2.34,
        }
        found = [
            {"name": line.name + suffix, "options": options, "numbers": numbers}
            for suffix, options in line.evaluations.items()
        ]
        return {
            "cpu_seconds": spent,
            "diverged": False,
            "commit": "0123456789",
            "evaluations": found,
        }

    monkeypatch.setattr(equal_time, "make_row", make)

    def go(*lines, words=()):
        study = Study("digits", lines, {"frechet": "Frechet distance"})
        monkeypatch.setitem(STUDIES, "toy", study)
        monkeypatch.setattr("sys.argv", ["equal_time", "toy", *words, f"--folder={tmp_path}"])
        equal_time.main()

    go(first, second)
    go(first, second)
    assert made == ["first", "second"]
    assert records[0] == records[1]
    columns, lines = records[0]["columns"], records[0]["rows"]
    assert columns == ["", "CPU s", "Frechet distance", "CPU s per 1,000 samples"]
    frechet = {"value": 0.5, "standard_error": 0.02}
    assert lines == [
        ["real data", "", 0.1, ""],
        ["second", "60 + 121", frechet, "2.34"],
        ["second, twice", "", frechet, "2.34"],
    ]
    go(first, second._replace(evaluations={"": ""}))  # fewer evaluations are another line
    assert made[2:] == ["second"]
    go(first._replace(minutes=3), second)  # and so is what is built on another run
    assert made[3:] == ["first", "second"]
    go(first, second, words=["--lines", "first", "--again"])  # and what is built on it
    assert made[5:] == ["first", "second"]
    go(first, second, words=["--lines", "second", "--again"])
    assert made[7:] == ["second"]
    stored = json.loads((tmp_path / "equal_time_toy_cpu.json").read_text())
    assert [row["name"] for row in stored["rows"]] == ["first", "second"]


def test_a_failed_evaluation_is_said(tmp_path):
    with pytest.raises(equal_time.GenJaxError, match="--num 20 ended with 2: .*no run"):
        equal_time.evaluated(tmp_path / "missing", "--num 20")
