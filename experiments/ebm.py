"""Train an energy by contrastive maximum likelihood, and look at its density and its samples.

    python -m experiments.ebm                                   # eight Gaussians in the plane
    python -m experiments.ebm --dataset digits --steps 4000

Then `python -m experiments.sample RUN_DIR`, and `python -m experiments.evaluate RUN_DIR` for the
log-likelihood with log Z by annealed importance sampling.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from experiments.energies import (
    ChainConfig,
    chains_of,
    exact_numbers,
    log_normalizer,
    model_options,
    network_of,
    optimizer_of,
)
from experiments.mixture import density
from experiments.runner import Saved, run
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
    found = log_normalizer(saved, network_of(saved.config))
    return found | exact_numbers(saved, test, num)


def main() -> None:
    run("ebm", tyro.cli(Config, description=__doc__), build, density)


if __name__ == "__main__":
    run_main(main)
