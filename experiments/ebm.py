"""Train an energy by contrastive maximum likelihood, and look at its density and its samples.

    python -m experiments.ebm                                   # eight Gaussians in the plane
    python -m experiments.ebm --dataset digits --steps 4000

Then `python -m experiments.sample RUN_DIR`, and `python -m experiments.evaluate RUN_DIR` for the
log-likelihood with log Z by annealed importance sampling.

Between separated modes no short chain goes from one mode to another, so nothing teaches the energy
their weights: the buffer alone keeps the samples right, and log p is far off (nijkamp2020). With
`--regulariser 0.1 --steps 4000` it is close, but part of the buffer strays far from all modes. On
digits few chains of the annealing stay effective: log Z may be too small.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.energy_options import (
    ChainConfig,
    chains_of,
    exact_numbers,
    log_normalizer,
    model_options,
    network_of,
    optimizer_of,
)
from experiments.shared.pictures import density
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax import data, energy
from gen_jax.data import DatasetSpec
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(ChainConfig):
    """Contrastive training with persistent chains, or short runs (--buffer-size 0)."""


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    return energy.ebm(
        network_of(config),
        optimizer_of(config),
        chains=chains_of(config),
        regulariser=config.regulariser,
        **model_options(config, spec),
    )


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """log Z with its standard error, and the exact log-density where it is known."""
    found = log_normalizer(saved)
    return found | exact_numbers(saved, test, num)


EXPERIMENT = Experiment("ebm", Config, build, "energy", measure_test=measure_test)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), density)


if __name__ == "__main__":
    run_main(main)
