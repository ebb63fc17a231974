"""The model landscape, measured: every family by its recipe, for equal CPU time, by one protocol.

    python -m benchmarks.landscape                            # digits, two CPU minutes each
    python -m benchmarks.landscape --dataset mnist --cpu-minutes 30
    python -m benchmarks.landscape --families GAN diffusion --seeds 0 1 2
    python -m benchmarks.landscape --families GAN --again              # a row of other code
    python -m benchmarks.landscape --families                          # the tables alone, again

Trains every recipe of `benchmarks/recipes.py` in a process of its own that ends after so many CPU
seconds, of all threads and with compilation; a model in two stages shares them. Then one draw of as
many samples as there are test images, measured as `python -m experiments.evaluate` measures: the
same features, the same real images, each number beside that of real training images. A seed that
diverged is a row too. Each row is written when it is there, and what is there is not made again,
unless its recipe has changed, or by `--again`. A run that was trained but not measured, because
that was interrupted, is measured.

Writes `benchmarks/results/landscape_DATASET_BACKEND.json`, a strip of samples of each family beside
it, the two tables of `docs/landscape.md` (then `python docs/results/render.py`) and its pictures.
"""

import itertools
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from benchmarks import landscape_tables
from benchmarks.measuring import RESULTS, cpu_seconds_per_1000, machine, read, write
from benchmarks.recipes import RECIPES, Recipe
from benchmarks.timed_runs import Ended, train
from experiments.shared import measures, records
from experiments.shared.option_types import MAX_SAMPLES, Duration, Positive, within
from experiments.shared.pictures import BATCH_SIZE, balanced_labels, draw
from experiments.shared.registry import Saved
from experiments.shared.sampling import SamplingConfig, prepare
from gen_jax import data, metrics, plotting, training
from gen_jax.calls import counted
from gen_jax.errors import ConfigError, GenJaxError, NumericalError, check_choice
from gen_jax.ranges import check_ranges
from gen_jax.training.console import count_parameters
from gen_jax.training.files import plain, write_json

STRIP = 20
"""Samples of a family's strip: two of each of ten labels."""


@dataclass(frozen=True)
class Config:
    """What to measure."""

    dataset: str = "digits"
    """Images."""
    cpu_minutes: Positive = 2.0
    """Of training, for every family and seed."""
    seeds: Annotated[tuple[int, ...], *within(0, 2**32 - 1)] = (0,)
    families: tuple[str, ...] = tuple(RECIPES)
    """Rows of the table; none: the tables of what is there."""
    again: bool = False
    """Make the rows of these families and seeds anew that are there: of other code."""
    likelihood: Annotated[int, *within(2, MAX_SAMPLES)] = 200
    """Test images whose likelihood is computed."""
    downstream: Duration = 500
    """Updates of the classifiers trained on samples and on real images; 0 for none."""
    folder: str = "runs/landscape"
    """Of the runs; they are not needed once their rows are there."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is trained."""
        check_ranges(self)
        for name in self.families:
            check_choice("families", name, RECIPES)
        if data.describe(self.dataset).kind != "images":
            raise ConfigError(f"dataset={self.dataset!r} must be of images")

    @property
    def how(self) -> dict[str, Any]:
        """What all rows of one file share."""
        names = ("dataset", "cpu_minutes", "likelihood", "downstream")
        return {name: getattr(self, name) for name in names}


def slug(name: str) -> str:
    """A name as a file's."""
    return "_".join("".join(c if c.isalnum() else " " for c in name).split()).lower()


def side_of(dataset: str) -> int:
    """Pixels of the longer side."""
    return max(data.describe(dataset).shape[:2])


def run_recipe(recipe: Recipe, config: Config, seed: int, folder: Path) -> tuple[Ended, float]:
    """Train a recipe within the budget; the run, and the CPU seconds of all its stages."""
    side = side_of(config.dataset)
    budget, words, spent = 60 * config.cpu_minutes, [*recipe.words(side)], 0.0
    options = ["--dataset", config.dataset]
    paces = Path(config.folder) / slug(config.dataset) / "paces.json"
    if recipe.base is not None:
        first, *rest = recipe.base.words(side)
        base = train([first, *rest, *options], seed, folder / "base", recipe.share * budget, paces)
        spent = base.cpu_seconds
        if base.diverged:
            return base, spent
        words += ["--from", str(base.directory)]
    ended = train([*words, *options], seed, folder / "run", budget - spent, paces)
    return ended, spent + ended.cpu_seconds


def trained(recipe: Recipe, config: Config, seed: int, folder: Path) -> tuple[Ended, float]:
    """`run_recipe`, or what it left in the folder where its row was not measured and the recipe is
    the same."""
    note, recipe_text = folder / "ended.json", recipe.text(side_of(config.dataset))
    how = {"recipe": recipe_text, "share": recipe.share, "cpu_minutes": config.cpu_minutes}
    left = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if not config.again and how.items() <= left.items() and Path(left["directory"]).is_dir():
        return Ended(Path(left["directory"]), left["cpu_seconds"]), left["cpu_seconds"]
    shutil.rmtree(folder, ignore_errors=True)
    ended, spent = run_recipe(recipe, config, seed, folder)
    if not ended.diverged:
        write_json(note, how | {"directory": ended.directory, "cpu_seconds": spent})
    return ended, spent


def network_calls(saved: Saved, recipe: Recipe, **condition: Any) -> int:
    """Network calls of a sample: those that the model marks, or what the recipe says."""
    draw_few = lambda key, state: saved.model.sample(key, state, 2, **condition)
    _, marked = jax.jit(counted(draw_few))(jax.random.key(0), saved.state)
    return int(marked) or recipe.calls(saved)


def spread(saved: Saved, samples: np.ndarray, test: Mapping[str, np.ndarray]) -> float | None:
    """Variance of the samples' features within a label over that of test images; without labels
    over all. None where there is no classifier of these data."""
    try:
        extractor = metrics.load_classifier(saved.spec.name)
    except ConfigError:
        return None
    labels = balanced_labels(saved.model, saved.spec, len(samples))

    def within_labels(x: np.ndarray, y: np.ndarray | None) -> float:
        features = np.asarray(extractor.features(x), np.float64)
        groups = [features] if y is None else [features[y == k] for k in np.unique(y)]
        return float(sum(((g - g.mean(0)) ** 2).sum() for g in groups) / len(features))

    real = within_labels(test["x"], None if labels is None else test["y"])
    return within_labels(samples, None if labels is None else np.asarray(labels)) / real


def measure(directory: Path, recipe: Recipe, config: Config, strip: Path | None) -> dict[str, Any]:
    """The numbers of a trained run, and the costs of its samples in CPU seconds after compiling."""
    sampler = prepare(SamplingConfig(str(directory)), needs_data=True)
    saved = sampler.saved
    train_set, test = measures.load_both(config.dataset)
    n = min(len(test["x"]), 10_000)
    sample = lambda count, seed: draw(saved.model, saved.spec, saved.state, count, seed)
    samples = sample(n, 0)
    seconds = cpu_seconds_per_1000(lambda count: sample(count, 1), min(n, BATCH_SIZE))
    labels = balanced_labels(saved.model, saved.spec, 2)
    condition = {} if labels is None else {"label": labels}
    numbers = {
        "step": saved.step,
        "parameters": count_parameters(saved.model.parameters(saved.state)),
        "network_calls": network_calls(saved, recipe, **condition),
        "sampling_cpu_seconds_per_1000": seconds,
        "spread": spread(saved, samples, test),
        "num_samples": n,
        **measures.evaluate_samples(saved, samples, train_set, test),
        **measures.likelihoods(saved, test, config.likelihood),
    }
    if config.downstream and measures.has_labels(saved):
        numbers |= measures.evaluate_downstream(saved, samples, train_set, test, config.downstream)
    if strip is not None:
        plotting.save_image(strip, plotting.image_grid(samples[:STRIP], columns=STRIP))
    return plain(numbers)


def make_row(name: str, config: Config, seed: int) -> dict[str, Any]:
    """Train and measure one family with one seed."""
    recipe = RECIPES[name]
    folder = Path(config.folder) / slug(config.dataset) / f"{slug(name)}-seed{seed}"
    ended, spent = trained(recipe, config, seed, folder)
    row: dict[str, Any] = {
        "family": name,
        "seed": seed,
        "cpu_seconds": round(spent, 1),
        "diverged": ended.diverged,
    }
    if ended.diverged:
        return row
    stored = records.of_run(ended.directory)
    row |= {key: stored[key] for key in ("command", "commit", "packages", "device")}
    row["command"] = row["command"].replace(str(folder), "RUNS")
    first = all(other["seed"] >= seed for other in kept(config) if other["family"] == name)
    strip = strips(config.dataset) / f"{slug(name)}.png" if first else None
    row |= measure(ended.directory, recipe, config, strip)
    (folder / "ended.json").unlink()
    return row


def strips(dataset: str) -> Path:
    """Where the strips of samples lie."""
    return RESULTS / f"landscape_{slug(dataset)}"


def name_of(dataset: str) -> str:
    return f"landscape_{slug(dataset)}"


def kept(config: Config) -> list[dict[str, Any]]:
    """The rows that are there. Raises ConfigError where they were measured otherwise."""
    before = read(name_of(config.dataset))
    if config.families and before and before["how"] != config.how:
        raise ConfigError(f"kept rows are of {before['how']}, not {config.how}: move them away")
    return before.get("rows", [])


def landscape(
    config: Config, make: Callable[[str, Config, int], dict[str, Any]] = make_row
) -> list[str]:
    """Make every row that is not there, each written when it is; returns what failed."""
    failed = []
    for name, seed in itertools.product(config.families, config.seeds):
        recipe = RECIPES[name].text(side_of(config.dataset))
        head = {"family": name, "seed": seed, "recipe": recipe}
        if not config.again and any(head.items() <= row.items() for row in kept(config)):
            continue
        print(f"{name}, seed {seed}", flush=True)
        facts = machine()
        try:
            row = head | make(name, config, seed)
        except NumericalError as error:
            row = {**head, "cpu_seconds": 0.0, "diverged": True}
            print(f"{name}, seed {seed}: {error}", file=sys.stderr, flush=True)
        except GenJaxError as error:
            failed.append(f"{name}, seed {seed}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
            continue
        row |= {name: facts[name] for name in ("load_before", "cpu", "cores")}
        print(json.dumps(row), flush=True)
        others = [r for r in kept(config) if (r["family"], r["seed"]) != (name, seed)]
        write(name_of(config.dataset), facts, {"how": config.how, "rows": [*others, row]})
    return failed


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    failed = landscape(config)
    stored = read(name_of(config.dataset))
    if not stored:
        raise ConfigError(f"there are no rows of {config.dataset!r} yet")
    order = list(RECIPES)
    rows = sorted(
        (row for row in stored["rows"] if row["family"] in order),
        key=lambda row: (order.index(row["family"]), row["seed"]),
    )
    strip_of = lambda name: strips(config.dataset) / f"{slug(name)}.png"
    for path in landscape_tables.write_all(rows, stored["how"], slug(config.dataset), strip_of):
        print(f"written: {path}")
    if failed:
        raise GenJaxError(f"{len(failed)} rows were not made: {'; '.join(failed)}")


if __name__ == "__main__":
    training.run_main(main)
