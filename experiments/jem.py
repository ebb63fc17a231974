"""Train a classifier that is also an energy (JEM): accuracy, samples by class, likelihood.

    python -m experiments.jem                                   # 8x8 digits
    python -m experiments.jem --dataset mnist --channels 32 64 64 --features 128

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.

The likelihood needs long annealing: with too few temperatures log Z is too small, and bits/dim with
few effective chains is an optimistic number.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.energy_options import (
    ChainConfig,
    chains_of,
    log_normalizer,
    model_options,
    network_of,
    optimizer_of,
)
from experiments.shared.option_types import Weight
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax import data, energy
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.metrics import mean_and_error
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(ChainConfig):
    """A joint energy model of images and labels."""

    dataset: str = "digits"
    energy_weight: Weight = 1.0
    """Of the contrastive loss beside the classifier's; 0 is a plain classifier."""


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.num_classes < 2:
        raise ConfigError(f"dataset={config.dataset!r} has no labels to classify")
    return energy.jem(
        network_of(config, spec.num_classes),
        optimizer_of(config),
        condition=spec.condition,
        chains=chains_of(config),
        energy_weight=config.energy_weight,
        regulariser=config.regulariser,
        **model_options(config, spec),
    )


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """log Z with its standard error, and the accuracy on the whole test set."""
    logits = energy.logits(saved.model, saved.state)
    classify = jax.jit(lambda x: logits(x).argmax(1))
    parts = np.array_split(np.arange(len(test["x"])), -(-len(test["x"]) // 500))
    right = [np.asarray(classify(test["x"][p])) == test["y"][p] for p in parts]
    accuracy = mean_and_error(np.concatenate(right).astype(np.float64))
    return {**log_normalizer(saved), "classifier_accuracy": accuracy}


EXPERIMENT = Experiment("jem", Config, build, "energy", measure_test=measure_test, kinds="images")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
