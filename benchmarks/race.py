"""The race against the clock: CPU seconds from start to samples as close to data as a line asks.

    python -m benchmarks.race gan --conditional projection --batch-size 32       # MNIST, line 0.20
    python -m benchmarks.race --dataset digits --line 0.6 diffusion              # minutes
    python -m benchmarks.race --limit 1200 --every 60 --guidance 2 diffusion --network.width 96

What comes first are options of the race, then stand an experiment and its options. Any method, any
recipe, one process, no pre-training: the clock is the CPU time of all threads from the start of the
process, compilation included. Checkpoints are kept about every `--every` CPU seconds and evaluated
afterwards, in order, which is not counted: the Frechet distance of 10,000 samples (or as many as
there are test images) by the project's own features. The first below the line is the result, at the
time when its checkpoint was whole.

An entry that crosses the line is added to `benchmarks/results/race_DATASET_BACKEND.json` and to the
table of `docs/race.md` (then `python docs/results/render.py`).
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.landscape import slug
from benchmarks.landscape_tables import value_of
from benchmarks.measuring import DOCS, machine, read, write, write_record
from benchmarks.timed_runs import train
from experiments.shared import measures, records
from experiments.shared.option_types import MAX_COUNT, MaybePositive, Positive, Seed, within
from experiments.shared.pictures import draw
from experiments.shared.registry import EXPERIMENTS, find
from experiments.shared.sampling import SamplingConfig, prepare
from gen_jax import data, training
from gen_jax.errors import ConfigError, NumericalError, check_choice
from gen_jax.ranges import check_ranges
from gen_jax.training.files import plain

LINES = {"mnist": 0.20, "digits": 0.6}
"""Frechet distances to cross, by dataset."""
OWN = ("--dataset", "--seed", "--directory", "--save-every", "--keep")
"""Options of an experiment that the race sets itself."""
MOST = 10_000
"""Samples of an evaluation."""


@dataclass(frozen=True)
class Config:
    """The race; the entry stands behind its options."""

    dataset: str = "mnist"
    line: MaybePositive = None
    """Frechet distance to cross; that of LINES if not given."""
    every: Positive = 30.0
    """CPU seconds between two checkpoints."""
    limit: Positive = 1200.0
    """CPU seconds after which the run ends; schedules of the experiment span them."""
    seed: Seed = 0
    guidance: Annotated[float, *within(-1e3, 1e3)] = 1.0
    """Of the samples that are measured; 1 is none."""
    num_steps: Annotated[int | None, *within(1, MAX_COUNT)] = None
    """Of their sampler; those of the run if not given."""
    folder: str = "runs/race"

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is trained."""
        check_ranges(self)
        if data.describe(self.dataset).kind != "images":
            raise ConfigError(f"dataset={self.dataset!r} must be of images")
        if self.line is None and self.dataset not in LINES:
            raise ConfigError(f"line=None needs one of {', '.join(LINES)}; give --line")

    @property
    def goal(self) -> float:
        return LINES[self.dataset] if self.line is None else self.line


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Options of the race, and the entry: an experiment with its options. Raises ConfigError."""
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if not word.startswith("-") and not (before.startswith("--") and "=" not in before):
            check_choice("experiment", word, EXPERIMENTS)
            if find(word).bases_for(find(word).config()):
                raise ConfigError(
                    f"experiment={word!r} needs a trained run, which the race has not"
                )
            taken = {option.partition("=")[0] for option in words[place:]} & {*OWN}
            if taken:
                raise ConfigError(
                    f"{', '.join(sorted(taken))} of the entry is set by the race: give --dataset, "
                    "--seed, --every before the experiment"
                )
            return words[:place], words[place:]
    raise ConfigError("an experiment is missing: `python -m benchmarks.race NAME --option ...`")


def saved_steps(directory: Path) -> list[int]:
    """Steps whose checkpoints are whole."""
    names = (path.parent.name for path in (directory / "checkpoints").glob("*/manifest.json"))
    return sorted(int(name) for name in names if name.isdecimal())


def run(entry: list[str], config: Config, directory: Path) -> list[tuple[int, float]]:
    """Train the entry; step and CPU seconds of every checkpoint. Raises NumericalError."""
    found: dict[int, float] = {}

    def watch(cpu: float) -> None:
        for step in saved_steps(directory):
            found.setdefault(step, cpu)

    words = [*entry, "--dataset", config.dataset]
    ended = train(words, config.seed, directory, config.limit, None, watch, config.every)
    if ended.diverged:
        raise NumericalError(f"{shlex.join(entry)} diverged: see {directory}.log")
    watch(ended.cpu_seconds)
    return sorted(found.items())


def judge(directory: Path, step: int, num: int, **how: Any) -> dict[str, Any]:
    """Frechet distance and label accuracy of a checkpoint's samples; `how` is of SamplingConfig."""
    sampler = prepare(SamplingConfig(str(directory), checkpoint=step, **how), needs_data=True)
    saved = sampler.saved
    train_set, test = measures.load_both(saved.spec.name)
    num = min(num, len(test["x"]))
    samples = draw(sampler.model, saved.spec, sampler.state, num, **sampler.options)
    measured = measures.evaluate_samples(saved, samples, train_set, test, brief=True)
    return {"num_samples": len(samples), **measured}


def race(entry: list[str], config: Config) -> dict[str, Any]:
    """An entry: where and when it crossed the line, and what every checkpoint before it had."""
    directory = Path(config.folder).absolute() / slug(config.dataset) / slug(" ".join(entry))[:80]
    curve: list[list[float]] = []
    crossed: dict[str, Any] = {}
    sampling = {"guidance": config.guidance, "num_steps": config.num_steps}
    for step, seconds in run(entry, config, directory):
        numbers = judge(directory, step, MOST, **sampling)
        distance = numbers["frechet"].value
        curve.append([step, round(seconds, 1), round(distance, 4)])
        print(f"step {step}: {seconds:.0f} CPU s, Frechet distance {distance:.3f}", flush=True)
        if distance < config.goal:
            crossed = {"cpu_seconds": round(seconds, 1), "step": step, **numbers}
            break
    if not curve:
        raise ConfigError(f"limit={config.limit:g} ends before the first checkpoint")
    stored = records.of_run(directory)
    kept = {name: stored[name] for name in ("commit", "packages", "device")}
    how = {"line": config.goal, "every": config.every, "limit": config.limit, "seed": config.seed}
    return plain({"entry": shlex.join(entry), **how, **sampling, **kept, "curve": curve, **crossed})


def words_of(entry: dict[str, Any]) -> str:
    """How it is sampled, where that is not as it was trained, and the experiment's words."""
    words = [] if entry.get("guidance", 1) == 1 else ["--guidance", f"{entry['guidance']:g}"]
    if entry.get("num_steps") is not None:
        words += ["--num-steps", str(entry["num_steps"])]
    return " ".join([*words, entry["entry"]])


def table(entries: list[dict[str, Any]], name: str, dataset: str) -> dict[str, Any]:
    """The record of the table, quickest first."""
    columns = [
        "CPU s",
        "entry",
        "Frechet distance",
        "label accuracy",
        "step",
        "seed",
        "checkpoints every, CPU s",
        "run of, CPU s",
        "cores",
        "commit",
    ]
    rows = [
        [
            round(e["cpu_seconds"]),
            f"`{words_of(e)}`",
            e["frechet"],
            e.get("label_accuracy", ""),
            e["step"],
            e["seed"],
            f"{e['every']:g}",
            f"{e['limit']:g}" if "limit" in e else "",
            e["cores"],
            (e["commit"] or "")[:7],
        ]
        for e in sorted(entries, key=lambda e: e["cpu_seconds"])
    ]
    first = entries[0]
    status = (
        f"`python -m benchmarks.race --dataset {dataset} ENTRY`; line {first['line']:g}, real "
        f"{first['frechet_real_train_test']:.3f}, n = {first['num_samples']}, features "
        f"`{first['features']}`."
    )
    return {"name": name, "status": status, "columns": columns, "rows": rows}


def keep(entry: dict[str, Any], dataset: str, docs: Path = DOCS) -> Path:
    """Add an entry that crossed the line to the results and to the table; the table's record.

    One of the same words and seed is replaced. Raises ConfigError where the entries that are there
    had another line, other features or another number of samples.
    """
    facts, name = machine(), f"race_{slug(dataset)}"
    same = lambda e: (words_of(e), e["seed"]) == (words_of(entry), entry["seed"])
    before = [e for e in read(name).get("entries", []) if not same(e)]
    for how in ("line", "features", "num_samples"):
        others = {e[how] for e in before} - {entry[how]}
        if others:
            raise ConfigError(f"{how}={entry[how]!r}: the entries kept had {others.pop()!r}")
    entries = [*before, {**entry, "cores": facts["cores"]}]
    write(name, facts, {"entries": entries})
    record = table(entries, f"race-{slug(dataset)}", dataset)
    return write_record(record, docs)


def main() -> None:
    if {"-h", "--help"} & {*sys.argv[1:]}:
        tyro.cli(Config, description=__doc__)
    own, entry = split(sys.argv[1:])
    config = tyro.cli(Config, args=own, description=__doc__)
    config.check()
    training.configure_backend(1)
    found = race(entry, config)
    if "cpu_seconds" not in found:
        best = min(row[2] for row in found["curve"])
        print(f"not below {config.goal:g} in {config.limit:g} CPU seconds; the best was {best:g}")
        return
    print(f"{found['cpu_seconds']:.0f} CPU seconds to {value_of(found['frechet']):.3f}")
    print(f"written: {keep(found, config.dataset)}")


if __name__ == "__main__":
    training.run_main(main)
