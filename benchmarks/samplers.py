"""Quality against network calls: one trained network, every kind of sampler.

    python -m benchmarks.samplers runs/diffusion-mnist --num 1000

Frechet distance (classifier features, to the test set) and label accuracy for each sampler and
number of calls, all from the same starting noise; the same number of real images gives the floor.
Writes `benchmarks/results/samplers_DATASET.json` and `.png` and prints a Markdown table.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from benchmarks.measuring import RESULTS, machine, network_calls, write
from experiments.shared.pictures import balanced_labels, draw
from experiments.shared.provenance import compare
from experiments.shared.runner import rebuild
from gen_jax import data, diffusion, metrics, plotting, training
from gen_jax.diffusion import STEPPERS


@dataclass(frozen=True)
class Config:
    """How much to measure."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of the run."""
    num: int = 1000
    """Samples for each point."""
    calls: tuple[int, ...] = (5, 10, 20, 50)
    """Network calls for every sampler."""
    samplers: tuple[str, ...] = tuple(name for name in STEPPERS if name != "adaptive")
    """Which, each on the time grid that it is meant for."""
    long: tuple[int, ...] = (100, 250, 1000)
    """Further numbers of calls, for DDPM's ancestral sampling only."""
    adaptive: bool = True
    """Also the adaptive solver at three tolerances."""
    seed: int = 0


def measure(saved, extractor, real, config: Config, **options: Any) -> dict[str, float]:
    """One point of the plot."""
    begun = time.perf_counter()
    samples = draw(saved.model, saved.spec, saved.state, config.num, config.seed, **options)
    seconds = time.perf_counter() - begun
    labels = np.asarray(balanced_labels(saved.model, saved.spec, config.num))
    return {
        "frechet": metrics.frechet_from_features(real, extractor.features(samples)),
        "label_accuracy": float((extractor.predict(samples) == labels).mean()),
        "seconds_with_compilation": round(seconds, 1),
    }


def points(saved, extractor, real, config: Config) -> list[dict[str, Any]]:
    """Every sampler at every number of calls."""
    rows = []
    for name in config.samplers:
        stepper = STEPPERS[name]()
        first, per_step = network_calls(stepper)
        for calls in (*config.calls, *(config.long if name == "ddpm" else ())):
            steps = max(2, -(-calls // per_step))
            options = {"stepper": name, "grid": stepper.grid, "num_steps": steps}
            numbers = measure(saved, extractor, real, config, **options)
            used = first + per_step * (steps - 1)
            rows.append({"sampler": name, "calls": used, **numbers})
            print(rows[-1], flush=True)
    return rows


def adaptive_points(saved, extractor, real, config: Config) -> list[dict[str, Any]]:
    """The adaptive probability-flow ODE; its number of calls is measured."""
    from gen_jax.diffusion import adaptive

    rows = []
    for tolerance in (1e-1, 1e-2, 1e-3):
        stepper = adaptive(rtol=tolerance, atol=tolerance)
        way = diffusion.trajectory(
            jax.random.key(config.seed),
            saved.model,
            saved.state,
            64,
            label=balanced_labels(saved.model, saved.spec, 64),
            stepper=stepper,
        )
        numbers = measure(saved, extractor, real, config, stepper=stepper)
        rows.append({"sampler": "adaptive Dopri5", "calls": int(way.calls), **numbers})
        print(rows[-1], flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Frechet distance by sampler and calls, in Markdown."""
    lines = ["| sampler | calls: Frechet distance (label accuracy) |", "| --- | --- |"]
    for title in dict.fromkeys(row["sampler"] for row in rows):
        cells = (
            f"{row['calls']}: {row['frechet']:.2f} ({row['label_accuracy']:.3f})"
            for row in rows
            if row["sampler"] == title
        )
        lines.append(f"| {title} | {', '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    training.configure_backend(1)
    facts = machine()
    saved = rebuild(config.run)
    extractor = metrics.load_classifier(saved.spec.name)
    compare(saved)
    test, train = (
        data.load(saved.spec.name, "test"),
        data.examples(saved.spec.name, "train", config.num),
    )
    real = extractor.features(test["x"])
    floor = metrics.frechet_from_features(real, extractor.features(train["x"]))
    rows = points(saved, extractor, real, config)
    if config.adaptive:
        rows += adaptive_points(saved, extractor, real, config)
    result = {
        "dataset": saved.spec.name,
        "step": saved.step,
        "num_samples": config.num,
        "num_real": len(real),
        "features": extractor.label,
        "frechet_of_real_training_images": floor,
        "points": rows,
    }
    name = f"samplers_{saved.spec.name}"
    write(name, facts, result)
    curves = {
        title: [(row["calls"], row["frechet"]) for row in rows if row["sampler"] == title]
        for title in dict.fromkeys(row["sampler"] for row in rows)
    }
    figure = plotting.quality_versus_calls(curves, ylabel="Frechet distance", floor=floor)
    plotting.save(figure, RESULTS / f"{name}.png")
    print(f"floor (real training images): {floor:.2f}\n{table(rows)}")


if __name__ == "__main__":
    training.run_main(main)
