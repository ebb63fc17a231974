"""Models compared at equal CPU time: a study is trained, measured, and becomes a table of the site.

    python -m benchmarks.equal_time latents-mnist
    python -m benchmarks.equal_time tokens-genesis --lines transformer
    python -m benchmarks.equal_time tokens-genesis --lines transformer --again   # of other code

Every line of a study (`benchmarks/studies.py`) is trained in a process of its own that ends after
so many CPU seconds, and measured by `python -m experiments.evaluate`. What is there is not made
again, unless its recipe has changed, or by `--again`. After every line it writes
`benchmarks/results/equal_time_NAME_BACKEND.json`, pictures of samples beside it, and the record of
the table (then `python docs/results/render.py`).
"""

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.landscape import slug
from benchmarks.measuring import RESULTS, cpu_seconds_per_1000, machine, read, write, write_record
from benchmarks.studies import STUDIES, Line, Study
from benchmarks.timed_runs import train
from experiments.evaluate import Config as Evaluation
from experiments.shared import records
from experiments.shared.option_types import Seed
from experiments.shared.pictures import draw, picture
from experiments.shared.sampling import SamplingConfig, prepare
from gen_jax import training
from gen_jax.errors import GenJaxError, check_choice
from gen_jax.ranges import check_ranges
from gen_jax.training.files import plain, read_json

COST = "sampling_cpu_seconds_per_1000"
PICTURED, TIMED = 40, 100
"""Samples of a picture, and of a draw that is timed."""


@dataclass(frozen=True)
class Config:
    """Which study, and which of its lines."""

    study: Annotated[str, tyro.conf.Positional]
    lines: tuple[str, ...] = ()
    """All if not given."""
    seed: Seed = 0
    again: bool = False
    """Make the lines anew that are there, and those that are built on them."""
    folder: str = "runs/equal_time"
    """Of the runs; they are not needed once their lines are there."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is trained."""
        check_ranges(self)
        check_choice("study", self.study, STUDIES)
        for name in self.lines:
            check_choice("lines", name, [line.name for line in STUDIES[self.study].lines])


def recipe(study: Study, line: Line) -> str:
    """All that decides a line's run, in one text."""
    base = next((other for other in study.lines if other.name == line.base), None)
    own = f"{line.words} --dataset {study.dataset} ({line.minutes:g} minutes)"
    return own if base is None else f"{recipe(study, base)}; {own}"


def evaluated(directory: Path, options: str) -> dict[str, Any]:
    """What `experiments.evaluate` writes of a run. Raises GenJaxError with its last line."""
    words = [sys.executable, "-m", "experiments.evaluate", str(directory), *shlex.split(options)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or [""]
        raise GenJaxError(f"{shlex.join(words[2:])} ended with {done.returncode}: {lines[-1]}")
    return read_json(directory / records.EVALUATION)


def cost(directory: Path, options: str, shown: Path) -> float:
    """CPU seconds of 1,000 samples after compilation; `shown` is a picture of some."""
    chosen = sampling_of([str(directory), *shlex.split(options)])
    sampler = prepare(chosen, needs_data=True)
    spec, state = sampler.saved.spec, sampler.state
    sample = lambda n: draw(sampler.model, spec, state, n, chosen.seed, **sampler.options)
    picture(shown, spec, sample(TIMED)[:PICTURED])
    return cpu_seconds_per_1000(sample, TIMED)


def sampling_of(words: list[str]) -> SamplingConfig:
    """How `experiments.evaluate` with these words samples."""
    asked = tyro.cli(Evaluation, args=words)
    return SamplingConfig(**{f.name: getattr(asked, f.name) for f in fields(SamplingConfig)})


def measured(name: str, line: Line, directory: Path) -> list[dict[str, Any]]:
    """A dictionary of numbers for every evaluation of a run."""
    found = []
    for suffix, options in line.evaluations.items():
        shown = RESULTS / f"equal_time_{slug(name)}" / f"{slug(line.name + suffix)}.png"
        numbers = evaluated(directory, options)
        numbers[COST] = cost(directory, options, shown)
        found.append({"name": line.name + suffix, "options": options, "numbers": numbers})
    return found


def make_row(config: Config, line: Line, before: dict[str, Any] | None) -> dict[str, Any]:
    """Train and measure a line; `before` is the row of its base."""
    study, root = STUDIES[config.study], Path(config.folder) / slug(config.study)
    folder = root / slug(line.name)
    words = [*shlex.split(line.words), "--dataset", study.dataset]
    if before is not None and before["diverged"]:
        return {"cpu_seconds": before["cpu_seconds"], "diverged": True}
    if line.base is not None:
        words += ["--from", str(root / slug(line.base))]
    trained = {"recipe": recipe(study, line), "seed": config.seed}
    marker = root / f"{slug(line.name)}.json"  # a training whose measures were interrupted
    found = read_json(marker) if marker.exists() else {}
    if not trained.items() <= found.items():
        ended = train(words, config.seed, folder, 60 * line.minutes, root / "paces.json")
        found = {**trained, "cpu_seconds": ended.cpu_seconds, "diverged": ended.diverged}
        marker.write_text(json.dumps(found) + "\n", encoding="utf-8")
    spent = [*([] if before is None else before["cpu_seconds"]), round(found["cpu_seconds"], 1)]
    row: dict[str, Any] = {"cpu_seconds": spent, "diverged": found["diverged"]}
    if row["diverged"]:
        return row
    stored = records.of_run(folder)
    row |= {key: stored[key] for key in ("command", "commit", "packages", "device")}
    row["command"] = row["command"].replace(str(root), "RUNS")
    return plain(row | {"evaluations": measured(config.study, line, folder)})


def table(study: Study, rows: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns, and lines: real data where a number has that, then every evaluation."""
    columns = ["", "CPU s", *study.columns.values(), "CPU s per 1,000 samples"]
    every = [numbers["numbers"] for row in rows for numbers in row.get("evaluations", [])]
    real = [
        next((n[known] for n in every if (known := f"{name}_real_train_test") in n), "")
        for name in study.columns
    ]
    lines: list[list[Any]] = [["real data", "", *real, ""]] if any(r != "" for r in real) else []
    for row in rows:
        spent = " + ".join(f"{seconds:.0f}" for seconds in row["cpu_seconds"])
        if row["diverged"]:
            lines.append([row["name"], spent, "diverged", *[""] * len(study.columns)])
        for found in row.get("evaluations", []):
            numbers = found["numbers"]
            shown = [numbers.get(name, "") for name in study.columns]
            lines.append([found["name"], spent, *shown, f"{numbers[COST]:.3g}"])
            spent = ""
    return columns, lines


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    study, name = STUDIES[config.study], f"equal_time_{slug(config.study)}"
    wanted: set[str | None] = {*config.lines}
    for line in reversed(study.lines):  # a base stands before its lines
        wanted |= {line.base} if line.name in wanted else set()
    kept: dict[str, dict[str, Any]] = {row["name"]: row for row in read(name).get("rows", [])}
    anew: set[str | None] = set()
    for line in study.lines:
        head = {"name": line.name, "seed": config.seed, "recipe": recipe(study, line)}
        options = [found["options"] for found in kept.get(line.name, {}).get("evaluations", [])]
        again = config.again and (not config.lines or line.name in config.lines)
        if again or line.base in anew:
            anew.add(line.name)
            (Path(config.folder) / slug(config.study) / f"{slug(line.name)}.json").unlink(True)
        same = head.items() <= kept.get(line.name, {}).items()
        there = same and options == [*line.evaluations.values()]
        if line.name not in anew and (there or (config.lines and line.name not in wanted)):
            continue
        print(line.name, flush=True)
        facts = machine()
        row = head | make_row(config, line, None if line.base is None else kept[line.base])
        kept[line.name] = row | {key: facts[key] for key in ("load_before", "cpu", "cores")}
        rows = [kept[other.name] for other in study.lines if other.name in kept]
        write(name, facts, {"dataset": study.dataset, "rows": rows})
    rows = [kept[line.name] for line in study.lines if line.name in kept]
    columns, lines = table(study, rows)
    commits = ", ".join(sorted({row["commit"][:7] for row in rows if row.get("commit")}))
    cores = max(row["cores"] for row in rows)
    status = (
        f"`python -m benchmarks.equal_time {config.study}`; code of {commits}; one seed; "
        f"{cores} core{'s' * (cores > 1)} of {rows[0]['cpu'].split(' Processor')[0]}, beside other "
        "work."
    )
    write_record({"name": config.study, "status": status, "columns": columns, "rows": lines})


if __name__ == "__main__":
    training.run_main(main)
