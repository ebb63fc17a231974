"""The landscape and the race: recipes, time limits, what resumes, what the tables say."""

import importlib.util
import itertools
import json
import math
import stat
import sys
from pathlib import Path

import pytest
import tyro

from benchmarks import landscape, landscape_tables, measuring, race, timed_runs
from benchmarks.recipes import RECIPES, Recipe
from experiments.shared.registry import EXPERIMENTS, find
from gen_jax.errors import ConfigError, GenJaxError, NumericalError

ROOT = Path(__file__).parents[2]
FAKE = """
import json, os, pathlib, signal, sys, time

words = dict(zip(sys.argv[3::2], sys.argv[4::2]))
run = pathlib.Path(words["--directory"])
if "diverging" in sys.argv[2]:
    sys.exit(5)
if "broken" in sys.argv[2]:
    print("what is wrong")
    sys.exit(2)


def end(*signal):
    save(step)
    sys.exit(75)


def save(step):
    (run / "checkpoints" / str(step)).mkdir(parents=True, exist_ok=True)
    (run / "checkpoints" / str(step) / "manifest.json").write_text("{}")


step = 0
run.mkdir(parents=True)
signal.signal(signal.SIGTERM, end)
while step < int(words["--steps"]):
    until = time.process_time() + 0.002
    while time.process_time() < until:
        pass
    step += 1
    if step % int(words.get("--log-every", 100)) == 0:
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": step}) + "\\n")
    if step % int(words.get("--save-every", 500)) == 0:
        save(step)
(run / "DONE").write_text(str(step))
time.sleep(60)  # pictures, which nobody waits for
"""


@pytest.fixture
def fake_python(tmp_path, monkeypatch):
    """`python -m experiments.NAME` is a loop that takes 2 ms of CPU time a step."""
    (tmp_path / "fake.py").write_text(FAKE)
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {tmp_path}/fake.py "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(timed_runs, "PACE_SECONDS", 0.1)
    monkeypatch.setattr(timed_runs, "POLL_SECONDS", 0.02)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results and pages of their own."""
    for module in (measuring, landscape):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(landscape_tables, "DOCS", tmp_path / "docs")
    return tmp_path


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_registered_experiment_with_its_options(name):
    recipe = RECIPES[name]
    parts = [part for part in (recipe.base, recipe) if part]
    for part, (dataset, side) in itertools.product(parts, [("digits", 8), ("mnist", 28)]):
        experiment, *words = part.words(side)
        assert experiment in EXPERIMENTS
        config = tyro.cli(find(experiment).config, args=[*words, "--dataset", dataset])
        config.check()
    assert 0 <= recipe.share < 1
    assert bool(recipe.base) == bool(find(experiment).bases_for(config))


def test_a_run_ends_when_its_time_is_up(fake_python, tmp_path):
    ended = timed_runs.train(["any"], 3, tmp_path / "run", 0.5, tmp_path / "paces.json")
    assert not ended.diverged
    assert 0.4 < ended.cpu_seconds < 1.5
    (step,) = race.saved_steps(tmp_path / "run")
    ((words, (start, pace)),) = json.loads((tmp_path / "paces.json").read_text()).items()
    assert words == "any"
    assert 0.0015 < pace < 0.01
    assert step == pytest.approx((ended.cpu_seconds - start) / pace, rel=0.5)
    (tmp_path / "paces.json").write_text(json.dumps({"any": [0.1, 0.02]}))  # taken as it is
    ended = timed_runs.train(["any"], 4, tmp_path / "run", 0.4, tmp_path / "paces.json")
    assert (tmp_path / "run" / "DONE").read_text() == "16"
    assert ended.cpu_seconds < 0.4


def test_a_run_of_given_steps_ends_by_itself(fake_python, tmp_path):
    ended = timed_runs.train(["any", "--steps", "20"], 0, tmp_path / "run", 60)
    assert not ended.diverged
    assert ended.cpu_seconds < 2
    assert (tmp_path / "run" / "DONE").read_text() == "20"


def test_a_diverged_run_is_no_failure_and_a_failed_one_is_said(fake_python, tmp_path):
    assert timed_runs.train(["diverging"], 0, tmp_path / "run", 1.0).diverged
    with pytest.raises(GenJaxError, match="what is wrong"):
        timed_runs.train(["broken"], 0, tmp_path / "run", 1.0)


def test_too_little_time_is_said():
    with pytest.raises(ConfigError, match="too few: the start takes 3.0"):
        timed_runs.Pace(3.0, 0.1).steps(2.0)
    assert timed_runs.Pace(3.0, 0.1).steps(4.0) == 10


def a_row(family="GAN", seed=0, **changed):
    """As `make_row` gives it."""
    number = lambda value: {"value": value, "standard_error": 0.02}
    return {
        "family": family,
        "seed": seed,
        "cpu_seconds": 120.0,
        "diverged": False,
        "commit": "0123456789",
        "precision": number(0.85),
        "precision_real_train_test": 0.86,
        "coverage": number(0.5),
        "coverage_real_train_test": 0.97,
        "authenticity": number(0.4),
        "authenticity_real_train_test": 0.57,
        "frechet": {"value": 1.5, "standard_error": 0.4},
        "frechet_real_train_test": 0.5,
        "spread": 0.7,
        "sampling_cpu_seconds_per_1000": 2.0,
        "network_calls": 1,
        "num_samples": 599,
        "features": "classifier",
        **changed,
    }


def test_rows_are_kept_and_a_diverged_seed_is_one_of_them(results, monkeypatch):
    made = []

    def make(name, config, seed):
        made.append((name, seed))
        if (name, seed) == ("JEM", 0) and made.count((name, seed)) == 1:
            raise GenJaxError("no memory")
        if seed == 1:
            raise NumericalError("loss is not finite")
        return a_row(name, seed)

    config = landscape.Config(families=("GAN", "JEM"), seeds=(0, 1))
    assert landscape.landscape(config, make) == ["JEM, seed 0: no memory"]
    assert landscape.landscape(config, make) == []
    assert made == [("GAN", 0), ("GAN", 1), ("JEM", 0), ("JEM", 1), ("JEM", 0)]
    rows = landscape.kept(config)
    assert [row["diverged"] for row in rows if row["family"] == "GAN"] == [False, True]
    columns, lines = landscape_tables.numbers_table(rows)
    assert [line[0] for line in lines] == ["real images", "GAN", "JEM"]
    assert lines[1][columns.index("seeds diverged")] == "1 of 2"
    mended = RECIPES["GAN"]._replace(small="gan --steps 9")
    monkeypatch.setitem(RECIPES, "GAN", mended)
    assert landscape.landscape(config, make) == []
    assert made[5:] == [("GAN", 0), ("GAN", 1)]
    assert len(landscape.kept(config)) == 4
    again = landscape.Config(families=("JEM",), seeds=(0,), again=True)
    assert landscape.landscape(again, make) == []
    assert made[7:] == [("JEM", 0)]
    assert len(landscape.kept(config)) == 4
    with pytest.raises(ConfigError, match="kept rows are of"):
        landscape.kept(landscape.Config(cpu_minutes=3.0))


def test_what_was_trained_is_not_trained_again_to_be_measured(results, monkeypatch):
    begun, folder = [], results / "run"

    def run(recipe, config, seed, folder):
        begun.append(seed)
        (folder / "run").mkdir(parents=True)
        return timed_runs.Ended(folder / "run", 2.0), 5.0  # the second of two stages took 2

    monkeypatch.setattr(landscape, "run_recipe", run)
    recipe, config = RECIPES["GAN"], landscape.Config()
    first = landscape.trained(recipe, config, 0, folder)
    assert landscape.trained(recipe, config, 0, folder)[1] == first[1] == 5.0
    assert landscape.trained(recipe, config, 0, folder)[0].directory == folder / "run"
    assert begun == [0]
    landscape.trained(recipe, landscape.Config(cpu_minutes=3.0), 0, folder)
    landscape.trained(recipe._replace(small="gan --steps 9"), config, 0, folder)
    landscape.trained(recipe._replace(small="gan --steps 9", share=0.2), config, 0, folder)
    assert begun == [0] * 4
    landscape.trained(recipe, landscape.Config(again=True), 0, folder)
    landscape.trained(recipe, config, 0, folder)
    assert begun == [0] * 5
    (folder / "run").rmdir()
    landscape.trained(recipe, config, 0, folder)
    assert begun == [0] * 6


def test_a_measured_row_is_trained_anew(results, monkeypatch):
    """`--again` is of other code: the note of the run goes when its row is there."""

    def run(recipe, config, seed, folder):
        folder.mkdir(parents=True)
        return timed_runs.Ended(folder / "run", 2.0), 2.0

    monkeypatch.setattr(landscape, "run_recipe", run)
    facts = dict.fromkeys(("command", "commit", "packages", "device"), "")
    monkeypatch.setattr(landscape.records, "of_run", lambda directory: facts)
    config = landscape.Config(folder=str(results))

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(landscape, "measure", fail)
    with pytest.raises(KeyboardInterrupt):
        landscape.make_row("GAN", config, 0)
    note = results / "digits" / "gan-seed0" / "ended.json"
    assert note.exists()
    monkeypatch.setattr(landscape, "measure", lambda *args: {"step": 3})
    assert landscape.make_row("GAN", config, 0)["step"] == 3
    assert not note.exists()


def test_tables_say_what_the_numbers_say(results):
    pixel = a_row(
        "PixelRNN",
        precision={"value": 0.3, "standard_error": 0.02},
        coverage={"value": 0.97, "standard_error": 0.01},
        authenticity={"value": 0.58, "standard_error": 0.02},
        bits_per_dim={"value": 1.854, "standard_error": 0.014},
        log_prob_kind="exact",
        network_calls=64,
        spread=1.0,
    )
    rows = [a_row(), pixel, {"family": "JEM", "seed": 0, "cpu_seconds": 9.0, "diverged": True}]
    how = landscape.Config().how
    columns, lines = landscape_tables.demands_table(rows)
    gan, pixels, lost = (dict(zip(columns, line)) for line in lines)
    assert gan["resemblance (precision)"] == "as real (0.85)"
    assert gan["coverage"] == "below (0.50)"
    assert gan["likelihood"] == "none"
    assert gan["novelty (authenticity)"] == "nearer to the training set (0.40)"
    assert gan["stochasticity (spread)"] == "less (0.70)"
    assert "part of the data is missed" in gan["in words"]
    assert pixels["resemblance (precision)"] == "below (0.30)"
    assert pixels["likelihood"] == "exact (1.85)"
    assert pixels["in words"] == (
        "Many samples are off the data; all of the data is reached; likelihood: exact; "
        "64 network calls."
    )
    assert lost["in words"] == "Diverged with 1 of 1 seeds."
    written = landscape_tables.write_all(
        rows, how, "digits", lambda name: results / name, results / "docs"
    )
    assert [path.suffix for path in written] == [".json", ".json", ".png"]
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs/results/render.py")
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    page = "<!-- table: landscape-digits -->\n<!-- end of table -->"
    shown = render.render(page, render.read(results / "docs/results/records"))
    assert "| GAN |" in shown.replace("|  |", "|")
    assert "1.50 ± 0.40" in shown
    assert "1.854 ± 0.014 | exact" in shown


def test_several_seeds_are_their_mean_and_its_error():
    values = [1.0, 2.0, 6.0]
    rows = [a_row(seed=s, frechet={"value": v, "standard_error": 9}) for s, v in enumerate(values)]
    found = landscape_tables.over_seeds(rows, "frechet")
    assert found["value"] == 3.0
    assert found["standard_error"] == pytest.approx(math.sqrt(7 / 3))


def test_a_seed_that_diverged_early_does_not_make_training_cheap():
    rows = [a_row(), a_row(seed=1), a_row(seed=2, diverged=True, cpu_seconds=0.0)]
    columns, (_, line) = landscape_tables.numbers_table(rows)
    cells = dict(zip(columns, line))
    assert cells["CPU s of training"] == {"value": 120.0, "standard_error": 0.0}
    assert cells["seeds diverged"] == "1 of 3"


# The race.


def test_the_first_checkpoint_below_the_line_is_the_entry(fake_python, results, monkeypatch):
    from gen_jax.types import Estimate

    distances = iter([0.9, 0.7, 0.55, 0.2])
    judged = []

    def judge(directory, step, num, guidance, num_steps):
        assert (guidance, num_steps) == (2.0, None)
        judged.append(step)
        return {
            "num_samples": 599,
            "features": "classifier",
            "frechet": Estimate(next(distances), 0.1),
            "frechet_real_train_test": 0.49,
        }

    facts = {"commit": "0123456789", "packages": {}, "device": "1 x cpu"}
    monkeypatch.setattr(race, "judge", judge)
    monkeypatch.setattr(race.records, "of_run", lambda directory: facts)
    folder = str(results / "runs")
    config = race.Config("digits", every=0.1, limit=0.6, guidance=2.0, folder=folder)
    entry = race.race(["diffusion", "--steps-per", "2"], config)
    assert entry["line"] == 0.6
    assert [row[2] for row in entry["curve"]] == [0.9, 0.7, 0.55]
    assert entry["step"] == judged[2]
    assert judged == sorted(judged)
    assert entry["cpu_seconds"] == entry["curve"][2][1] > entry["curve"][0][1] > 0.05
    path = race.keep(entry, "digits", results / "docs")
    faster = {**entry, "entry": "gan", "cpu_seconds": 0.01, "guidance": 1.0, "num_steps": 8}
    race.keep(faster, "digits", results / "docs")
    race.keep(faster, "digits", results / "docs")  # the same once more replaces it
    record = json.loads(path.read_text())
    shown = ["`--num-steps 8 gan`", "`--guidance 2 diffusion --steps-per 2`"]
    assert [row[1] for row in record["rows"]] == shown
    for other in ({"line": 0.1}, {"features": "pixels"}, {"num_samples": 100}):
        with pytest.raises(ConfigError, match="entries kept had"):
            race.keep({**entry, **other}, "digits", results / "docs")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "an experiment is missing"),
        (["--line", "0.2"], "an experiment is missing"),
        (["difusion"], "did you mean 'diffusion'"),
        (["--dataset", "digits", "latent_diffusion"], "needs a trained run"),
        (["gan", "--dataset", "mnist"], "--dataset of the entry is set by the race"),
        (["--line", "0.2", "gan", "--loss", "hinge", "--seed=3"], "--seed of the entry"),
    ],
)
def test_what_is_no_entry_is_said(words, match):
    with pytest.raises(ConfigError, match=match):
        race.split(words)


def test_options_of_the_race_come_before_the_entry():
    words = ["--line", "0.2", "gan", "--loss", "hinge"]
    assert race.split(words) == (["--line", "0.2"], ["gan", "--loss", "hinge"])
    assert race.split(["--line=0.2", *words[2:]]) == (["--line=0.2"], ["gan", "--loss", "hinge"])


def test_an_entry_with_its_own_steps_keeps_checkpoints_by_time(fake_python, results, monkeypatch):
    words = ["diffusion", "--steps", "300"]
    race.run(words, race.Config("digits", every=0.1, limit=60), results / "run")
    assert len(race.saved_steps(results / "run")) > 1


TINY = "--network.width 16 --network.depth 1 --batch-size 16 --sampling-steps 4"


@pytest.mark.slow
def test_a_tiny_recipe_from_training_to_the_page(results, monkeypatch):
    """Trained, sampled and measured for real; a second run makes nothing again."""
    recipes = {"tiny": Recipe("diffusion", f"diffusion {TINY}")}
    monkeypatch.setattr(landscape, "RECIPES", recipes)
    config = landscape.Config(
        cpu_minutes=0.6, families=("tiny",), likelihood=2, downstream=2, folder=str(results / "r")
    )
    assert landscape.landscape(config) == []
    (row,) = landscape.kept(config)
    assert 20 < row["cpu_seconds"] < 60
    assert row["network_calls"] == 4
    assert row["step"] > 10
    for name in ("label_accuracy", "downstream_accuracy_generated", "bits_per_dim", "spread"):
        assert name in row
    assert landscape.landscape(config, lambda *given: pytest.fail("made again")) == []
    strip_of = lambda name: landscape.strips("digits") / f"{landscape.slug(name)}.png"
    written = landscape_tables.write_all([row], config.how, "digits", strip_of, results / "docs")
    assert [path.suffix for path in written] == [".json", ".json", ".png", ".png"]


@pytest.mark.slow
def test_a_tiny_race(results):
    words = ["diffusion", *TINY.split()]
    options = {"guidance": 2.0, "num_steps": 3, "folder": str(results / "runs")}
    config = race.Config("digits", 1e6, 10.0, 60.0, **options)
    entry = race.race(words, config)
    assert 10 < entry["cpu_seconds"] < 60
    assert entry["num_samples"] == 599
    assert race.keep(entry, "digits", results / "docs").exists()
