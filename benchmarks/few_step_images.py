"""Few-step losses on images beside the diffusion model that they are tuned from, at equal CPU time.

    python -m experiments.diffusion --noise-input angle --directory runs/parent
    python -m benchmarks.few_step_images runs/parent
    python -m benchmarks.few_step_images RUN --losses shortcut --starts tuned --tuned-minutes 10

Every loss trains the parent's network in a process of its own that ends after so many CPU seconds,
of all threads and with compilation: from scratch, and from the parent's parameters. Samples of one,
two and four calls, as many as there are test images, are measured as `experiments.evaluate` does.
Writes `benchmarks/results/few_steps_DATASET_BACKEND.json` after every row, which a second start
continues. `--status WORDS` writes the record of the site.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.landscape_tables import value_of
from benchmarks.measuring import machine, markdown, read, write, write_record
from benchmarks.timed_runs import train
from experiments.shared import measures, records
from experiments.shared.option_types import MAX_SAMPLES, Positive, within
from experiments.shared.pictures import draw
from experiments.shared.registry import Saved
from experiments.shared.sampling import SamplingConfig, prepare
from gen_jax import training
from gen_jax.errors import ConfigError, check_choice
from gen_jax.flow_matching import FEW_STEP_LOSSES
from gen_jax.ranges import check_ranges
from gen_jax.training.files import plain

CALLS = (1, 2, 4)
SCRATCH, TUNED = "from scratch", "tuned"
PARENT = "the parent"


@dataclass(frozen=True)
class Config:
    """Which parent, and which rows."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of a diffusion run on images with `--noise-input angle`."""
    losses: tuple[str, ...] = tuple(name for name in FEW_STEP_LOSSES if name != "drifting")
    """Drifting takes data without labels."""
    starts: tuple[str, ...] = (SCRATCH, TUNED)
    scratch_minutes: Positive = 2.0
    """CPU minutes of training from scratch."""
    tuned_minutes: Positive = 1.0
    """CPU minutes of training from the parent's parameters, whose own are not counted."""
    learning_rate: Positive = 1e-3
    """Peak of the tuning's schedule."""
    num: Annotated[int, *within(measures.MIN_EXAMPLES, MAX_SAMPLES)] = 10_000
    """Samples; as many as there are test images, where these are fewer."""
    folder: str = "runs/few_steps"
    """Of the runs; they are not needed once their rows are there."""
    status: str | None = None
    """What the record of the site says of its origin; it is written where this is given."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work."""
        check_ranges(self)
        for name in self.losses:
            check_choice("losses", name, FEW_STEP_LOSSES)
        for name in self.starts:
            check_choice("starts", name, (SCRATCH, TUNED))

    @property
    def how(self) -> dict[str, Any]:
        """What all rows of one file share."""
        names = ("scratch_minutes", "tuned_minutes", "learning_rate", "num")
        return {name: getattr(self, name) for name in names}


def measure(saved: Saved, config: Config, calls: int) -> dict[str, Any]:
    """The numbers of samples of so many network calls."""
    train_set, test = measures.load_both(saved.spec.name)
    n = min(len(test["x"]), config.num)
    samples = draw(saved.model, saved.spec, saved.state, n, num_steps=calls)
    return plain(measures.evaluate_samples(saved, samples, train_set, test))


def words_of(parent: Saved, config: Config, loss: str, start: str) -> list[str]:
    """The experiment that trains the parent's network on a loss, and its options."""
    own, network = parent.config, parent.config.network
    words = ["flow_map", "--loss", loss, "--dataset", parent.spec.name]
    words += ["--path", own.path, "--prediction", own.prediction]
    words += ["--batch-size", str(own.batch_size), "--network.name", network.name]
    for name in ("width", "depth", "patch"):
        if (size := getattr(network, name)) is not None:
            words += [f"--network.{name}", str(size)]
    if start == TUNED:
        words += ["--from", str(parent.directory), "--learning-rate", str(config.learning_rate)]
    return words


def row_of(parent: Saved, config: Config, loss: str, start: str) -> dict[str, Any]:
    """Train with one loss, and measure."""
    minutes = config.tuned_minutes if start == TUNED else config.scratch_minutes
    root = Path(config.folder) / parent.spec.name
    folder = root / f"{loss}-{start.split()[-1]}"
    words = words_of(parent, config, loss, start)
    ended = train(words, 0, folder, 60 * minutes, root / "paces.json")
    row = {"loss": loss, "start": start, "cpu_seconds": round(ended.cpu_seconds, 1)}
    if ended.diverged:
        return row | {"diverged": True}
    saved = prepare(SamplingConfig(str(folder)), needs_data=True).saved
    commit = records.of_run(folder)["commit"]
    numbers = {str(n): measure(saved, config, n) for n in CALLS}
    return row | {"step": saved.step, "commit": commit, "calls": numbers}


def text(numbers: dict[str, Any] | None) -> str:
    """Frechet distance; in brackets label accuracy, precision, recall, memorisation ratio."""
    if numbers is None:
        return ""
    names = ("label_accuracy", "precision", "recall", "memorisation_ratio")
    rest = [f"{value_of(numbers[name]):.2f}" for name in names if name in numbers]
    return f"{value_of(numbers['frechet']):.2f} ({', '.join(rest)})"


def table(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head, and a line for each row: the parent, then by start, in the order of the losses."""
    order = [*FEW_STEP_LOSSES]
    place = lambda row: (row["start"], order.index(row["loss"]) if row["loss"] in order else -1)
    rows = sorted(rows, key=place)
    head = ["training", "steps", "CPU s", *(f"{n} call{'s' * (n > 1)}" for n in CALLS)]
    body = []
    for row in rows:
        name = row["loss"] if row["loss"].startswith(PARENT) else f"{row['loss']}, {row['start']}"
        if row.get("diverged"):
            body.append([name, "", f"{row['cpu_seconds']:.0f}", "diverged", "", ""])
            continue
        cells = [text(row["calls"].get(str(n))) for n in CALLS]
        if row["loss"].startswith(PARENT):
            cells[0] = text(*row["calls"].values())
        spent = row["cpu_seconds"]
        body.append([name, str(row["step"]), "" if spent is None else f"{spent:.0f}", *cells])
    return head, body


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    facts = machine()
    parent = prepare(SamplingConfig(config.run), needs_data=True).saved
    if getattr(parent.config, "noise_input", None) != "angle" or parent.spec.kind != "images":
        raise ConfigError(f"run={config.run!r} must be of images, with --noise-input angle")
    name = f"few_steps_{parent.spec.name}"
    before = read(name)
    rows: list[dict[str, Any]] = before.get("rows", [])
    if rows and before["how"] != config.how:
        raise ConfigError(f"{name} has rows of {before['how']}, not of {config.how}")

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        write(name, facts, {"dataset": parent.spec.name, "how": config.how, "rows": rows})

    if not rows:
        stored = records.of_run(parent.directory)
        calls = parent.config.sampling_steps
        add({
            "loss": f"{PARENT}, {calls} calls", "start": "", "step": parent.step,
            "cpu_seconds": stored.get("cpu_seconds"), "commit": stored["commit"],
            "calls": {str(calls): measure(parent, config, calls)},
        })  # fmt: skip
    there = {(row["loss"], row["start"]) for row in rows}
    for start in config.starts:
        for loss in config.losses:
            if (loss, start) not in there:
                add(row_of(parent, config, loss, start))
    head, body = table(rows)
    print(markdown(head, body))
    if config.status:
        record = {"name": f"few-steps-at-equal-time-{parent.spec.name}", "status": config.status}
        write_record({**record, "columns": head, "rows": body})


if __name__ == "__main__":
    training.run_main(main)
