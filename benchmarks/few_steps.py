"""One call in the plane: every few-step loss on eight Gaussians and on a grid of 25, many seeds.

    python -m benchmarks.few_steps
    python -m benchmarks.few_steps --datasets 25grid --losses lagrangian --steps 8000 --name long

The seeds of a cell run side by side under one vmap, every cell with the same network and the same
steps. Per cell and number of calls: modes covered (fewest), total variation of their weights (mean
and largest), share of good samples; and the seeds that diverged (a weight that is not finite), or
collapsed (less than half of the modes). Writes `benchmarks/results/few_steps_NAME.json` after every
cell, which a second start continues, and prints a Markdown table. `--status WORDS` writes the
record of the site.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from benchmarks.cells import begun
from benchmarks.measuring import RESULTS, machine, markdown, train_seeds, write_record
from gen_jax import data, metrics, nets, training
from gen_jax.data import toy
from gen_jax.errors import check_choice, check_range
from gen_jax.flow_matching import FEW_STEP_LOSSES, flow_map_model
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam

MIXTURES = {"8gaussians": toy.eight_gaussians_mixture, "25grid": toy.grid_mixture}
OPTIONS: dict[str, dict[str, Any]] = {
    "moment_matching": {"loss_options": {"group": 32}},
    "drifting": {"loss_options": {"temperature": 0.1}},
}
"""Of losses that are not run at their defaults."""
CALLS = (1, 2, 4)


@dataclass(frozen=True)
class Config:
    """The cells and how each is trained."""

    datasets: tuple[str, ...] = tuple(MIXTURES)
    losses: tuple[str, ...] = tuple(FEW_STEP_LOSSES)
    seeds: int = 3
    steps: int = 3000
    batch_size: int = 256
    widths: tuple[int, ...] = (128, 128, 128)
    learning_rate: float = 2e-3
    """Of Adam, on a one-cycle schedule."""
    ema_decay: float = 0.998
    samples: int = 10_000
    name: str = "cpu"
    limit: int | None = None
    """Cells to train now, at most."""
    status: str | None = None
    """What the record of the site says of its origin; it is written where this is given."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work."""
        for name in self.datasets:
            check_choice("datasets", name, MIXTURES)
        for name in self.losses:
            check_choice("losses", name, FEW_STEP_LOSSES)
        for name in ("seeds", "steps", "batch_size", "samples"):
            check_range(name, getattr(self, name), 1, integer=True)


def model_of(config: Config, dataset: str, loss: str) -> GenerativeModel:
    """The model of one cell, in units of the data's standard deviation."""
    spec = data.describe(dataset)
    return flow_map_model(
        nets.MLP(config.widths),
        "linear",
        one_cycle_adam(config.steps, config.learning_rate),
        loss,
        shape=(2,),
        ema_decay=config.ema_decay,
        transform=data.standardize(spec.mean, spec.std),
        **OPTIONS.get(loss, {}),
    )


def summary(dataset: str, samples: np.ndarray) -> dict[str, Any]:
    """The numbers of the seeds [seeds, samples, 2] of a cell at one number of calls."""
    weights, means, covariances = (np.asarray(a) for a in MIXTURES[dataset]())
    std = float(np.sqrt(covariances[0, 0, 0]))
    finite = [x for x in samples if np.isfinite(x).all()]
    reports = [metrics.mode_report(x, means, std, weights) for x in finite]
    spread = [r.total_variation for r in reports] or [1.0]
    covered = [r.covered for r in reports] or [0]
    return {
        "covered_fewest": int(min(covered)),
        "total_variation_mean": float(np.mean(spread)),
        "total_variation_largest": float(max(spread)),
        "high_quality": float(np.mean([r.high_quality for r in reports] or [0.0])),
        "collapsed": sum(c < len(means) / 2 for c in covered),
        "diverged": len(samples) - len(finite),
    }


def run_cell(config: Config, dataset: str, loss: str) -> dict[str, Any]:
    """Calls -> numbers, and the CPU seconds of training and sampling with compilation."""
    model, begun = model_of(config, dataset, loss), time.process_time()

    def draw(key, state):
        return [model.sample(key, state, config.samples, num_steps=calls) for calls in CALLS]

    sets = train_seeds(model, dataset, config.seeds, config.steps, config.batch_size, draw)
    found: dict[str, Any] = {str(n): summary(dataset, x) for n, x in zip(CALLS, sets, strict=True)}
    return {**found, "cpu_seconds": round(time.process_time() - begun, 1)}


def table(cells: dict[str, dict[str, Any]], config: Config) -> tuple[list[str], list[list[str]]]:
    """Head and lines: total variation, mean and largest, and share of good samples, by calls."""
    heads = [f"{name}, {n} calls" if n > 1 else f"{name}, 1 call" for name in config.datasets
             for n in CALLS]  # fmt: skip
    lines = []
    for loss in config.losses:
        row, seconds = [], 0.0
        for dataset in config.datasets:
            cell = cells.get(f"{dataset} {loss}")
            seconds += cell["cpu_seconds"] if cell else 0
            for calls in CALLS:
                row.append(_text(cell[str(calls)], config.seeds) if cell else "")
        lines.append([loss, *row, f"{seconds:.0f}"])
    return ["loss", *heads, "CPU s"], lines


def _text(c: dict[str, Any], seeds: int) -> str:
    lost = c["diverged"] + c["collapsed"]
    note = f"; {lost} of {seeds} lost" if lost else ""
    mean, most = c["total_variation_mean"], c["total_variation_largest"]
    return f"{mean:.3f} ({most:.3f}), {c['high_quality']:.2f}{note}"


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    path = RESULTS / f"few_steps_{config.name}.json"
    how, cells = begun(path, config, ("datasets", "losses", "limit", "name", "status"))
    todo = [(dataset, loss) for dataset in config.datasets for loss in config.losses]
    todo = [pair for pair in todo if " ".join(pair) not in cells]
    for dataset, loss in todo[: config.limit]:
        found = run_cell(config, dataset, loss)
        cells[f"{dataset} {loss}"] = found
        print(dataset, loss, json.dumps(found), flush=True)
        path.write_text(
            json.dumps({"how": how, "machine": machine(), "cells": cells}, indent=2) + "\n"
        )
    head, body = table(cells, config)
    print(markdown(head, body))
    if config.status:
        record = {"name": "few-steps-in-the-plane", "status": config.status}
        write_record({**record, "columns": head, "rows": body})


if __name__ == "__main__":
    training.run_main(main)
