"""Records, comparisons and sweeps of small finished runs."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import sweep
from experiments.shared import records
from gen_jax.errors import ConfigError
from gen_jax.training import identity, write_json


@pytest.fixture
def finished(tmp_path):
    """`finished(name, **evaluation)` makes the files of a run that ended."""

    def make(name, seed=0, **evaluation):
        folder = tmp_path / name
        (folder / "samples").mkdir(parents=True)
        config = {"dataset": "digits", "seed": seed, "network": {"width": 8}, "directory": "x"}
        stored = identity.sealed({"experiment": "diffusion", "config": config})
        write_json(folder / "config.json", stored)
        words = ["experiments/diffusion.py", "--seed", str(seed), "--directory", str(folder)]
        versions = {"command": words, "devices": ["cpu", "cpu"], "commit": "abc", "python": "3.11"}
        write_json(folder / "environment.json", versions)
        costs = {"steps_here": 3, "wall_seconds": 2.0, "cpu_seconds": 3.5, "load_average": 1.0}
        write_json(folder / "report.json", {"step": 3, **costs})
        noise = np.random.default_rng(seed).integers(0, 256, (400, 400, 3), np.uint8)
        Image.fromarray(noise).save(folder / "samples" / "step_3.png")
        if evaluation:
            write_json(folder / "evaluation.json", evaluation)
        (folder / "DONE").write_text("3\n")
        return folder

    return make


def test_a_record_is_small_and_whole(command, finished, tmp_path):
    estimate = {"value": 0.5, "standard_error": 0.25}
    run = finished("a", frechet=estimate, frechet_real_train_test=0.25)
    ended = command("record", run, "--name", "b", "--folder", tmp_path / "records")
    assert ended.code == 0, ended.err
    record = json.loads((tmp_path / "records" / "b.json").read_text())
    assert record["command"] == "python -m experiments.diffusion --seed 0"
    assert record["evaluation"] == {"frechet": estimate, "frechet_real_train_test": 0.25}
    wanted = {"cpu_seconds": 3.5, "device": "2 x cpu", "commit": "abc", "seed": 0}
    assert wanted.items() <= record.items()
    assert str(tmp_path) not in json.dumps(record)
    assert (tmp_path / "records" / "b.png").stat().st_size <= records.MAX_PICTURE


def test_a_run_without_numbers_is_no_record(command, finished, tmp_path):
    ended = command("record", finished("a"), "--folder", tmp_path / "records")
    assert ended.code == ConfigError.exit_code
    assert "experiments.evaluate" in ended.err
    assert not (tmp_path / "records").exists()


def test_comparison_shows_what_differs(command, finished, tmp_path):
    runs = finished("a", recall=0.5), finished("b", seed=7, recall=0.75, precision=0.125)
    page = tmp_path / "page.html"
    ended = command("compare", *runs, "--output", page)
    assert ended.code == 0, ended.err
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line.strip()}
    assert rows["seed"] == ["0", "7"]
    assert rows["recall"] == ["0.5", "0.75"]
    assert rows["precision"] == ["0.125"]
    assert "network.width" not in rows
    assert page.read_text().count("data:image/png;base64,") == 2
    assert command("compare", runs[0]).code == ConfigError.exit_code


def test_sweep_runs_what_is_not_done(finished, tmp_path):
    words = ["diffusion", "--seed", "0", "1", "--path", "vp", "--folder", str(tmp_path)]
    plan = sweep.parse([*words, "--evaluation", "--num 40"])
    assert [path.name for path in plan.runs] == ["seed=0,path=vp", "seed=1,path=vp"]
    finished("seed=0,path=vp", recall=1.0)
    calls = []

    def execute(command, words):
        calls.append((command, *words))
        return 3 if command == "evaluate" else 0

    assert sweep.sweep(plan, execute) == [tmp_path / "seed=0,path=vp"]
    second = str(tmp_path / "seed=1,path=vp")
    assert calls == [
        ("diffusion", "--seed", "1", "--path", "vp", "--directory", second),
        ("evaluate", second, "--num", "40"),
    ]


def test_sweep_is_a_product_and_quotes_hold_several_words():
    plan = sweep.parse(["flow", "--hidden", "8 8", "16", "--seed", "0", "1"])
    assert len(plan.runs) == 4
    assert next(iter(plan.runs.values())) == ["--hidden", "8", "8", "--seed", "0"]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "experiment is missing"),
        (["difusion"], "did you mean 'diffusion'"),
        (["diffusion", "--seed", "0", "--seed", "1"], "given twice"),
        (["diffusion", "0"], "belongs to no option"),
        (["diffusion", "--directory", "x"], "chosen by the sweep"),
        (["diffusion", "--folder", "a", "b"], "one value"),
    ],
)
def test_what_is_no_sweep_is_said(words, match):
    with pytest.raises(ConfigError, match=match):
        sweep.parse(words)
