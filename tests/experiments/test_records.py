"""Records, comparisons and sweeps of small finished runs."""

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from experiments import sweep
from experiments.shared import comparison, records
from gen_jax.errors import CheckpointError, ConfigError
from gen_jax.training import identity, write_json, write_report
from gen_jax.training.identity import RUN


@pytest.fixture
def finished(tmp_path):
    """`finished(name, **evaluation)` makes the files of a run that ended."""

    def make(name, seed=0, width=8, **evaluation):
        folder = tmp_path / name
        (folder / "samples").mkdir(parents=True)
        config = {"dataset": "digits", "seed": seed, "network": {"width": width}, "directory": "x"}
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


@pytest.mark.parametrize(
    ("own", "run", "shown"),
    [
        ("first", "first", True),
        ("first", "second", False),
        (None, "second", False),
        ("first", None, True),
        (None, None, True),
    ],
)
def test_an_evaluation_of_another_run_is_not_shown_and_is_no_record(tmp_path, own, run, shown):
    """One rule for the report and the record: numbers that name no run are older, or the user's."""
    named = lambda name: {} if name is None else {RUN: name}
    config, numbers = {"fit": {}, **named(own)}, {**named(run), "frechet": 7}
    for name, values in {"config": config, "evaluation": numbers}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    page = write_report(tmp_path).read_text()
    assert ("frechet" in page, "of another run" in page) == (shown, not shown)
    if shown:
        assert records.evaluation_of(tmp_path, config) == {"frechet": 7}
    else:
        with pytest.raises(CheckpointError, match="that of another run"):
            records.evaluation_of(tmp_path, config)


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
    table = ended.out.split(comparison.GROUPS.upper())[0]
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.strip()}
    assert rows["seed"] == ["0", "7"]
    assert rows["seed=0"] == ["seed=7"]  # the titles; each says above whose directory it is
    assert f"seed=7  {runs[1]}" in ended.out
    assert rows["recall"] == ["0.5", "0.75"]
    assert rows["precision"] == ["0.125"]
    assert "network.width" not in rows
    assert page.read_text().count("data:image/png;base64,") == 2
    assert command("compare", runs[0]).code == ConfigError.exit_code


def test_runs_of_several_seeds_are_a_mean(command, finished, tmp_path):
    facts = {"run": "diffusion", "dataset": "digits", "num_samples": 40, "options": {"seed": 0}}
    made = lambda seed, width, value: finished(
        f"{'long-name-' * 9}{width}-{seed}",
        seed,
        width,
        **facts,
        frechet={"value": value, "standard_error": 0.5},
    )
    runs = [made(0, 8, 1.0), made(1, 8, 2.0), made(2, 8, 6.0), made(0, 16, 4.0)]
    page = tmp_path / "page.html"
    ended = command("compare", *runs, "--output", page)
    assert ended.code == 0, ended.err
    head, measured = ended.out.split("MEASURED")[0], ended.out.split("MEASURED")[1]
    for name in ("dataset", "num_samples", "options.seed"):
        assert name in head
        assert name not in measured
    table = ended.out[ended.out.index("OPTIONS") :].removesuffix(f"written: {page}\n")
    assert max(map(len, table.splitlines())) < 120, table
    # mean 3 and standard deviation sqrt((4 + 1 + 9) / 2) of 1, 2 and 6
    for cell in ("width=8 seed=1", "width=8 (3 seeds)", "width=16 (1 seed)", "3.0 ± 2.6"):
        assert cell in ended.out
        assert cell in page.read_text()


def test_a_comparison_as_csv(command, finished, tmp_path):
    third = {"value": 1 / 3, "standard_error": 0.125}
    runs = finished("a", recall=third), finished("b", seed=7, recall=third, modes=[1, 2])
    file = tmp_path / "table.csv"
    assert command("compare", *runs, "--output", file).code == 0
    first, second = csv.DictReader(file.read_text().splitlines())
    assert (first["directory"], first["seed"], second["seed"]) == (str(runs[0]), "0", "7")
    assert float(first["recall"]) == 1 / 3
    assert first["recall_standard_error"] == "0.125"
    assert (first["modes"], second["modes"]) == ("", "[1, 2]")


def test_runs_with_the_same_options_have_their_directories_as_titles(finished):
    runs = finished("a", recall=0.5), finished("b", recall=0.25)
    found = [records.of_run(run) for run in runs]
    assert comparison.titles_of(found, runs) == ["a", "b"]
    assert comparison.over_seeds(found, runs) is None


def test_titles_of_runs_that_differ_in_much_stay_short():
    one = {"experiment": "diffusion", "seed": 0, "dataset": "digits"}
    runs = [
        {**one, "config": {"loss": loss, "path": loss, "optimizer": {"name": loss}, "seed": seed}}
        for loss, seed in (("denoising-a", 0), ("denoising-a", 1), ("denoising-b", 0))
    ]
    assert comparison.titles_of(runs, ["a", "b", "c"]) == [
        "loss=denoising-a seed=0",
        "loss=denoising-a seed=1",
        "loss=denoising-b seed=0",
    ]


def test_an_option_in_a_csv_is_not_a_measured_number_of_its_name(finished):
    runs = [finished("a", features="classifier"), finished("b", width=16, features="classifier")]
    found = [records.of_run(run) for run in runs]
    for run, width in zip(found, (8, 16)):
        run["config"]["features"] = width
    first = next(csv.DictReader(comparison.as_csv(found, runs).splitlines()))
    assert (first["config.features"], first["features"]) == ("8", "classifier")


def test_sweep_runs_what_is_not_done(finished, tmp_path, capsys):
    words = ["diffusion", "--seed", "0", "1", "--path", "vp", "--folder", str(tmp_path)]
    plan = sweep.parse([*words, "--evaluation", "--num 40"])
    assert [path.name for path in plan.runs] == ["seed=0,path=vp", "seed=1,path=vp"]
    run = finished("seed=0,path=vp", recall=1.0)
    write_json(run / sweep.ASKED, sweep.made_by(run, plan.evaluation))
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
    assert capsys.readouterr().out.splitlines() == [
        f"[1/2] {run}: was done already",
        f"[2/2] {second}: training",
        f"[2/2] {second}: evaluating",
        f"[2/2] {second}: ended with exit code 3",
    ]


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "null", "3", "{", ""])
@pytest.mark.parametrize("name", ["environment", "report", "evaluation"])
def test_damaged_files_of_a_run_are_one_line(command, finished, tmp_path, name, text):
    run = finished("a", recall=0.5)
    (run / f"{name}.json").write_text(text)
    for words in (("compare", run, run), ("record", run, "--folder", tmp_path / "records")):
        ended = command(*words)
        assert (ended.code, ended.err.count("\n")) == (4, 1), ended.err
        assert f"{name}.json is damaged" in ended.err


def test_numbers_belong_to_their_run_and_step(command, finished, tmp_path):
    run, other = finished("a"), finished("b")
    words = ("record", run, "--folder", tmp_path / "records")
    own = identity.read_config(run)["run_identity"]
    (run / "checkpoints" / "3").mkdir(parents=True)
    write_json(run / "evaluation.json", {"run_identity": own, "step": 3, "recall": 0.5})
    ended = command(*words)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads((tmp_path / "records" / "a.json").read_text())["evaluation"] == {
        "step": 3,
        "recall": 0.5,
    }
    (run / "checkpoints" / "7").mkdir()
    ended = command(*words)
    assert ended.code == 0
    assert "evaluation.json is of step 3, the newest of the run is 7" in ended.err
    write_json(other / "evaluation.json", {"run_identity": own, "step": 3, "recall": 0.5})
    for words in (("record", other, "--folder", tmp_path / "records"), ("compare", run, other)):
        ended = command(*words)
        assert ended.code == 4
        assert "evaluation.json is that of another run" in ended.err


def test_sweep_evaluates_again_what_is_not_as_asked(finished, tmp_path):
    """Other words, other numbers, another step, another run's numbers copied in."""
    calls = []

    def execute(command, words):
        calls.append(command)
        return 0

    def sweep_with(evaluation):
        calls.clear()
        words = ["diffusion", "--seed", "0", "--folder", str(tmp_path), "--evaluation", evaluation]
        sweep.sweep(sweep.parse(words), execute)
        return list(calls)

    run = finished("seed=0", recall=1.0)
    again = ["evaluate"]
    assert [sweep_with("--num 40") for _ in range(2)] == [again, []]
    assert [sweep_with("--num 50") for _ in range(2)] == [again, []]
    (run / "DONE").write_text("9\n")
    assert [sweep_with("--num 50") for _ in range(2)] == [again, []]
    write_json(run / "evaluation.json", {"recall": 0.0})
    assert [sweep_with("--num 50") for _ in range(2)] == [again, []]
    write_json(run / "config.json", identity.sealed({"experiment": "diffusion", "config": {}}))
    assert sweep_with("--num 50") == again


CHILD = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *a: (time.sleep(1), print("saved", flush=True), sys.exit(75)))
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import sys
from experiments import sweep
from gen_jax.training import run_main
folder = sys.argv.pop()
sys.modules["os"].environ["PYTHONPATH"] = folder
run_main(lambda: sweep.execute("child", []))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_of_a_sweep_lets_its_run_save(tmp_path, number):
    """Ctrl-C killed the run after a quarter of a second, SIGTERM left it behind."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "child.py").write_text(CHILD)
    words = [sys.executable, "-c", PARENT, str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert out == "saved\n"
    assert process.returncode == 75
    assert err == "stopped: in child; the same command goes on\n"


def test_no_two_choices_share_a_directory():
    first, second = (
        next(iter(sweep.parse(["diffusion", "--dataset", name]).runs))
        for name in ("folder:a/b", "folder:a_b")
    )
    assert first != second
    with pytest.raises(ConfigError, match="both be kept in"):
        sweep.parse(["flow", "--hidden", "8 8", "8_8"])


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
