"""Straighten a trained flow by rounds: draw its pairs of noise and data once, train on them.

    python -m experiments.flow_matching --directory runs/flow
    python -m experiments.reflow runs/flow --rounds 2

Each round is a run of its own beside the first (`runs/flow-reflow1`, ...) with its pairs in
`pairs.npz`; the last one is distilled into one Euler step (`runs/flow-distilled`). Writes
`reflow.json` in the first run: straightness (0: Euler's method is exact), and by number of Euler
steps the distance of samples to the test set.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import tyro

from experiments.shared import measures, pictures
from experiments.shared.command_line import read_options
from experiments.shared.option_types import MAX_COUNT, MAX_SAMPLES, Count, Seed, within
from experiments.shared.provenance import compare, in_report
from experiments.shared.reflow_rounds import check_flow, trained
from experiments.shared.registry import Saved
from experiments.shared.runner import rebuild
from gen_jax import data, training
from gen_jax.diffusion import Parts, denoiser
from gen_jax.errors import ConfigError
from gen_jax.flow_matching import straightness
from gen_jax.frozen import parts_of
from gen_jax.ranges import check_ranges
from gen_jax.training import run_main

CALLS = (1, 2, 4, 8)
SHOWN = ("frechet", "label_accuracy", "sliced_wasserstein", "total_variation")


@dataclass(frozen=True)
class Config:
    """Which run, and how often."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of a run of flow_matching, or of diffusion that predicts the velocity, on the
    linear path: the first round starts from its parameters."""
    rounds: Count = 2
    pairs: Annotated[int, *within(2, MAX_SAMPLES)] = 20_000
    """Of noise and data, drawn once in each round."""
    pair_steps: Count = 32
    """Of Heun's method for a pair: two network calls each."""
    steps: Annotated[int | None, *within(1, MAX_COUNT)] = None
    """Of each round's training; those of the run if not given."""
    distil: bool = True
    """Distil the last round into one step."""
    num: Annotated[int, *within(10, MAX_SAMPLES)] = 500
    """Samples of each number."""
    seed: Seed = 0
    allow_changed_data: bool = False
    """Go on although the data are not those of the training."""


def measured(config: Config, saved: Saved, train: dict, test: dict) -> dict[str, Any]:
    """Straightness, and by Euler steps the numbers of `evaluate` that SHOWN names."""
    parts, _ = parts_of(saved.model, saved.state, Parts)
    n = min(config.num, 256)
    denoise = denoiser(saved.model, saved.state, **pictures.balanced(saved.model, saved.spec, n))
    x1 = jax.random.normal(jax.random.key(config.seed), (n, *parts.options.shape))
    times = jnp.linspace(1, 0, 33)
    bent = jax.jit(lambda x1: straightness(denoise, parts.path, x1, times))(x1)
    report: dict[str, Any] = {"straightness": float(bent.mean() / x1[0].size)}
    for calls in CALLS:
        options = {"stepper": "euler", "num_steps": calls}
        drawn = pictures.draw(
            saved.model, saved.spec, saved.state, config.num, config.seed, **options
        )
        found = measures.evaluate_samples(saved, drawn, train, test, brief=True)
        report[f"{calls}_euler"] = {name: found[name] for name in SHOWN if name in found}
    return report


def main() -> None:
    config = read_options(Config, __doc__)
    check_ranges(config)
    training.configure_backend(1)
    first = rebuild(config.run, experiments=("flow_matching", "diffusion"))
    path = training.check_writable("reflow", first.directory / "reflow.json")
    changed = compare(first, config.allow_changed_data)
    if first.spec.kind == "text":
        raise ConfigError(f"run {config.run!r} is of text, which has no flow")
    check_flow(first)
    if config.pairs < first.config.batch_size:
        raise ConfigError(
            f"pairs={config.pairs} must be at least the run's batch_size={first.config.batch_size}"
        )
    runs = {"first": first}
    for index in range(1, config.rounds + 1):
        last = list(runs.values())[-1]
        runs[f"reflow{index}"] = trained(config, first, last, f"reflow{index}", index)
    if config.distil:
        last = list(runs.values())[-1]
        runs["distilled"] = trained(config, first, last, "distilled", 0)
    train, test = (data.examples(first.spec.name, split) for split in ("train", "test"))
    report = {name: measured(config, saved, train, test) for name, saved in runs.items()}
    for name, numbers in report.items():
        print(f"{name:10s}  straightness {numbers['straightness']:.4g}")
        for calls in CALLS:
            values = numbers[f"{calls}_euler"].items()
            print(f"  {calls} Euler  " + "  ".join(f"{key} {value}" for key, value in values))
    training.write_json(path, in_report(changed) | report)
    print(f"written: {path}")


if __name__ == "__main__":
    run_main(main)
