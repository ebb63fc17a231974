"""Train an energy by contrastive maximum likelihood, and look at its density and its samples.

    python -m experiments.ebm                                   # eight Gaussians in the plane
    python -m experiments.ebm --dataset digits --steps 4000

Then `python -m experiments.sample RUN_DIR`, and `python -m experiments.evaluate RUN_DIR` for the
log-likelihood with log Z by annealed importance sampling.

Measured, in nats of 2,000 test points where the exact mean is -0.30:

- eight Gaussians, 5,000 steps: samples as good as real ones (sliced Wasserstein distance 0.073, two
  real sets 0.074; weights of the modes off by 0.014), but log p is -5.5 +- 0.1. No chain of 40
  steps goes from one mode to another, so nothing teaches the energy their weights: two modes have
  nearly all of its mass, and the buffer alone keeps the samples right (nijkamp2020).
- with `--regulariser 0.1 --steps 4000`, which draws the modes' energies together: -0.376 +- 0.017,
  all eight modes, weights off by 0.08; but now 40 % of the buffer strays far from all modes.
- digits, `--features 256 256 256`, stopped at 1,143 of 3,000 steps: 6.95 +- 0.03 bits/dim of 100
  images, with 13 effective chains of 256: log Z may still be too small.
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
