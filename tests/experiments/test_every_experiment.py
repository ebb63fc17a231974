"""Every registered experiment: train, resume, sample, evaluate, each at its smallest."""

import inspect
import json
import math
import shutil
from dataclasses import fields
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
import tyro
from PIL import Image
from rows import check_rows

from experiments.shared import gan_rejection, pictures, registry, runner
from experiments.shared.small import small_words
from gen_jax import data

FURTHER = {
    "hidden": ("--learning-rate", 0.05),
    "evaluation_samples": ("--evaluation-samples", 4),
    "reconstruction": ("--latent", 4),
    "stepper": ("--learning-rate", 0.05, "--ema-decay", 0.1),  # tokens change with large steps only
}
"""What a short run needs besides its size, for the experiments that have these fields."""

ALREADY = {("ebm", "digits"), ("score_matching", "8gaussians")}
"""Pairs whose every part another pair runs: an energy on images is jem's, on points ebm's."""

NUM = 100
"""Samples of every command: those of a picture, so that one program draws them all."""

GRID_100 = (10 * (32 + 1) + 1, 10 * (32 + 1) + 1)
"""Ten rows of ten 8 x 8 digits, enlarged four times, one white pixel between."""


def numbers(value):
    """Every number of a JSON value."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in numbers(part)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def size_of(path):
    """(width, height) of a PNG that decodes."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        return picture.size


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def check_samples(ok, run, dataset, steps, labels):
    """Arrays of two seeds; of a sampler with steps also another one, an animation, guidance."""
    digits = dataset == "digits"

    def drawn(file, *words):
        ok("sample", run, "--num", NUM, "--output", file, *words)
        with np.load(file) as stored:
            return stored["arr_0"]

    first = drawn("a.npz", "--seed", 3)
    assert first.shape == ((NUM, 8, 8, 1) if digits else (NUM, 2))
    assert first.dtype == (np.uint8 if digits else np.float32)
    assert np.isfinite(first).all()
    assert not np.array_equal(first, drawn("b.npz", "--seed", 4))
    if not steps:
        return
    animated = ("--seed", 3, "--stepper", "ddpm", "--animate")
    assert not np.array_equal(first, drawn("drawn/a.npz", *animated))
    with Image.open("drawn/a.gif") as animation:
        assert animation.format == "GIF"
        assert animation.n_frames == 4
    if digits and labels:
        guided = ("--seed", 3, "--label", 3, "--guidance", 3, "--stepper", "ddim")
        ok("sample", run, "--num", NUM, *guided, "--output", "drawn/c.png")
        assert size_of("drawn/c.png") == GRID_100
        plain = pictures.picture(Path("drawn/d.png"), data.describe(dataset), first)
        assert not np.array_equal(pixels("drawn/c.png"), pixels(plain))


STEPS = "log_prob_nats_steps_change"
"""The change of a mean, which may be 0."""


def check_evaluation(ok, run, dataset, labels, has_density):
    """Finite numbers, those that are estimates with standard errors."""
    ok("evaluate", run, "--num", NUM, "--likelihood", 4)
    report = json.loads((run / "evaluation.json").read_text())
    assert all(math.isfinite(number) for number in numbers(report))
    estimates = {name for name, value in report.items() if isinstance(value, dict)} - {"options"}
    assert (estimates >= {"log_prob_nats", "bits_per_dim"}) == has_density
    assert all(report[name]["standard_error"] > 0 for name in estimates - {STEPS})
    assert (STEPS in estimates) == ("likelihood_steps" in report)
    assert {"kernel", "energy", "two_sample_accuracy", "f_8", "authenticity"} <= estimates
    assert (run / "precision_recall.png").stat().st_size
    if dataset == "digits":
        assert estimates >= {"frechet"}
        assert ("label_accuracy" in estimates) == labels
        assert report["frechet"]["value"] > report["frechet_real_train_test"] > 0
    else:
        # Of so few samples a distance may fall below that of real sets.
        usual = report["sliced_wasserstein_real_train_test"]
        assert report["sliced_wasserstein"]["value"] > 0.5 * usual > 0


FITTED = {
    "mcmc": lambda shape: 0,  # without adaptation
    "mixture": lambda shape: 8 * (1 + math.prod(shape) + math.prod(shape) ** 2),
    "pca": lambda shape: math.prod(shape) + math.prod(shape) ** 2,
    "texture": lambda shape: shape[2] + math.prod(shape) * shape[2],
}
"""Numbers that models without an optimizer fit, by the data's shape."""


def check_parameters(banner, saved):
    """The banner counts what the optimizers have a moment of, or what a fit without one has."""
    moments = [
        part.mu
        for part in jax.tree.leaves(saved.state, is_leaf=lambda part: hasattr(part, "mu"))
        if hasattr(part, "mu")
    ]
    count = sum(leaf.size for leaf in jax.tree.leaves(moments))
    count = FITTED[saved.name](saved.spec.shape) if saved.name in FITTED else count
    assert f"{count:,} parameters" in banner
    whole = sum(leaf.size for leaf in jax.tree.leaves(saved.state))
    assert count < whole


def check_compiled_once(saved, compilations):
    """Three equal calls of `log_prob` trace and compile once; its conditions are those it takes."""
    model = saved.model
    options = list(inspect.signature(model.sample).parameters)[3:]
    assert list(model.conditions) == options
    if model.log_prob is None:
        return
    shape, dtype = (4, *saved.spec.shape), saved.spec.dtype
    x, key = np.zeros(shape, dtype), jax.random.key(0)
    first = model.log_prob(key, saved.state, x)
    compilations.clear()
    for _ in range(2):
        np.testing.assert_array_equal(model.log_prob(key, saved.state, x), first)
    assert compilations == []


PAIRS = [
    (name, dataset)
    for name in registry.EXPERIMENTS
    for dataset in ("digits", "8gaussians")
    if data.describe(dataset).kind in registry.kinds_of(name) and (name, dataset) not in ALREADY
]

WHOLE = {("diffusion", "digits"), ("gan", "digits"), ("mixture", "8gaussians")}
"""Pairs of which `make test` runs the whole life."""


@pytest.fixture
def base_of(request):
    """`base_of(name)` -> options that name a trained run, for an experiment that needs one."""

    def words(name):
        runs = {"latent_diffusion": "coder_run", "personalise": "digits_run"}
        fixture = runs.get(name)
        return () if fixture is None else ("--from", request.getfixturevalue(fixture))

    return words


def short_words(name, dataset):
    """The command line of a small run."""
    config = registry.find(name).config
    has = {field.name for field in fields(config) if not isinstance(field.default, float)}
    has |= {"reconstruction"} & {field.name for field in fields(config)}
    further = [word for field, option in FURTHER.items() if field in has for word in option]
    return [*small_words(config), *further, "--dataset", dataset, "--batch-size", 16]


FIRST = {name: (name, dataset) for name, dataset in reversed(PAIRS)}
"""The first pair of every experiment."""

LIVED = {name for name, _ in WHOLE}
STARTED = {
    FIRST[names[0]]
    for names in registry.families().values()
    if names[0] in FIRST and not LIVED & {*names}
}
"""Pairs of which `make test` runs the start, one of each family without a whole life."""


ALONE = sorted(pair for pair in FIRST.values() if not registry.find(pair[0]).bases)
"""Of those that need no trained run."""


def built(name, dataset):
    """(model, 16 examples) of a small run."""
    experiment = registry.find(name)
    config = tyro.cli(experiment.config, args=[*map(str, short_words(name, dataset))])
    config.check()
    model = experiment.build(config, data.describe(dataset))
    return model, {part: array[:16] for part, array in data.load(dataset, "train").items()}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dataset"), ALONE)
def test_rows_of_options_go_with_their_samples(key, name, dataset):
    check_rows(key, *built(name, dataset))


@pytest.mark.parametrize(("name", "dataset"), ALONE)
def test_parts_fit_together(name, dataset):
    """What the command line builds is traced, not compiled: init, step, sample, log_prob."""
    model, batch = built(name, dataset)
    spec, key = data.describe(dataset), jax.random.key(0)
    state = jax.eval_shape(model.init, key, batch)
    after, metrics = jax.eval_shape(model.step, key, state, batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert metrics
    assert {metric.shape for metric in metrics.values()} == {()}
    drawn = jax.eval_shape(lambda key, state: model.sample(key, state, 4), key, state)
    assert (drawn.shape, drawn.dtype) == ((4, *spec.shape), spec.dtype)
    if model.log_prob is not None:
        assert jax.eval_shape(model.log_prob, key, state, batch["x"]).shape == (16,)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        pytest.param(*pair, marks=[pytest.mark.essential if pair in STARTED else pytest.mark.slow])
        for pair in sorted(set(FIRST.values()) - WHOLE)
    ],
)
def test_start_of_a_life(command, tmp_path, monkeypatch, base_of, name, dataset):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(pictures.COUNTS, "points", NUM)
    words = [*short_words(name, dataset), *base_of(name)]
    ended = command(name, *words, "--steps", 2, "--directory", "run")
    assert ended.code == 0, ended.err
    assert Path("run/DONE").read_text().strip() == "2"
    width, height = size_of("run/samples/step_00000002.png")
    assert (width, height) == GRID_100 if dataset == "digits" else width > 1.5 * height > 150
    saved = runner.rebuild(Path("run"))
    assert (saved.name, saved.step, saved.spec.name) == (name, 2, dataset)
    check_parameters(ended.err, saved)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        pytest.param(*pair, marks=[pytest.mark.essential if pair in WHOLE else pytest.mark.slow])
        for pair in PAIRS
    ],
)
def test_whole_life(command, tmp_path, monkeypatch, compilations, base_of, name, dataset):
    def ok(module, *words):
        ended = command(module, *words)
        assert ended.code == 0, ended.err
        return ended

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gan_rejection, "RATIOS", ())  # it has a test of its own
    monkeypatch.setitem(pictures.COUNTS, "points", NUM)
    run = tmp_path / "run"
    words = [*short_words(name, dataset), *base_of(name), "--directory", run]
    train = lambda: ok(name, *words, "--steps", 6, "--save-every", 2)

    first = train()
    assert "resumed" not in first.err
    for file in ("config.json", "environment.json", "metrics.jsonl", "report.html", "DONE"):
        assert (run / file).stat().st_size
    whole = runner.rebuild(run).state
    (run / "DONE").unlink()  # as if it had been killed before its last save
    shutil.rmtree(run / "checkpoints" / "6")
    assert "resumed at 4" in train().err
    assert (run / "DONE").read_text().strip() == "6"

    made = run / "samples" / "step_00000006.png"
    width, height = size_of(made)
    assert (width, height) == GRID_100 if dataset == "digits" else width > 1.5 * height > 150
    saved = runner.rebuild(run)
    assert (saved.name, saved.step, saved.spec.name) == (name, 6, dataset)
    chex.assert_trees_all_equal(saved.state, whole)
    rebuilt = pictures.write_samples(tmp_path, saved.model, saved.spec, saved.state, 6)
    assert np.array_equal(pixels(made), pixels(rebuilt))
    assert "step_00000006" in (run / "report.html").read_text()
    before = runner.rebuild(run, 4)
    compilations.clear()
    other = pictures.write_samples(tmp_path, saved.model, saved.spec, before.state, 4)
    assert compilations == []  # a picture takes no new program
    assert not np.array_equal(pixels(made), pixels(other))
    check_parameters(first.err, saved)
    check_compiled_once(saved, compilations)

    steps = "grid" in saved.model.conditions
    guided = steps and "label" in saved.model.conditions
    check_samples(ok, run, dataset, steps, guided)
    labels = guided or name in ("few_labels", "jem", "text_gan", "text_to_image")
    check_evaluation(ok, run, dataset, labels, saved.model.log_prob is not None)
    assert "<h2>Evaluation" in (run / "report.html").read_text()


def test_whole_life_of_text(command, tmp_path, monkeypatch):
    def ok(module, *words):
        ended = command(module, *words)
        assert ended.code == 0, ended.err
        return ended

    monkeypatch.chdir(tmp_path)
    network = ("--network.width", 16, "--network.depth", 1)
    ok("transformer", *network, "--steps", 2, "--batch-size", 8, "--directory", "run")
    written = Path("run/samples/step_00000002.txt").read_text(encoding="utf-8")
    assert written.count("-" * 60) == 7
    prompt = ("--prompt", "And God", "--num", 2)
    first = ok("sample", "run", *prompt, "--temperature", 0).out
    assert first.startswith("And God")
    assert first == ok("sample", "run", *prompt, "--top-k", 1, "--seed", 5).out
    for words, message in (
        (("--prompt", "And God " * 20), "longer than the context"),
        (("--prompt", "And God #"), "vocabulary: '#'"),
        (("--top-p", 2), "top_p=2"),
        (("--output", "a.png"), "must end in"),
        (("--stepper", "ddim"), "no option of a 'transformer' run"),
    ):
        ended = command("sample", "run", *words)
        assert ended.code in (2, 3)
        assert message in ended.err
        assert ended.err.count("\n") == 1
    drawn = ("--num", 12)
    ok("evaluate", "run", *drawn, "--likelihood", 20)
    report = json.loads(Path("run/evaluation.json").read_text())
    assert 1 < report["perplexity_per_token"]["value"] < 63
    assert report["bits_per_character"] == pytest.approx(report["bits_per_dim"]["value"])
    assert report["num_samples"] == 12
    generated = report["generated_perplexity_per_token"]
    assert 2 < report["generated_perplexity_per_token_real_train_test"] < 6 < generated["value"]
    assert generated["standard_error"] > 0
    assert "generated_perplexity_per_character" not in report
    assert 4 < report["sample_entropy_bits_real_train_test"] < math.log2(60)
    assert 0 < report["distinct_4_grams_real_train_test"] < report["distinct_4_grams"]["value"]
    ok("evaluate", "run", *drawn, "--likelihood", 0, "--temperature", 0)
    greedy = json.loads(Path("run/evaluation.json").read_text())
    assert greedy["distinct_4_grams"]["value"] <= 1 / 12  # one text, twelve times
    assert greedy["sample_entropy_bits"]["value"] < report["sample_entropy_bits"]["value"]
    assert "perplexity_per_token" not in greedy


def test_list_has_a_line_for_every_row(command):
    ended = command("list", "all")
    rows = [line.split() for line in ended.out.splitlines() if line.startswith("  ")]
    assert ended.code == 0
    assert len(rows) > 60
    assert [row[0] for row in rows if len(row) < 4] == []


def test_list_is_one_screen_and_shows_one_section(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = command("list").out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100
    assert {"objectives", "samplers", "operators"} <= {line[17:33].strip() for line in lines}
    one = command("list", "objectives").out.splitlines()
    assert one[0] == "losses of diffusion"
    assert [line.split()[0] for line in one[1:3]] == ["denoising", "ddpm"]
    wrong = command("list", "sampler")
    assert wrong.code == 2
    assert "did you mean 'samplers'?" in wrong.err


def test_info_names_the_backend_and_the_versions(command):
    ended = command("info")
    assert ended.code == 0
    for word in ("backend   cpu", "devices", "python", "jax", "orbax-checkpoint"):
        assert word in ended.out
