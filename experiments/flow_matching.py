"""Train a flow-matching model (rectified flow by default), and look at its samples.

    python -m experiments.flow_matching --dataset 25grid
    python -m experiments.flow_matching --dataset moons --coupling optimal_assignment

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.
"""

from dataclasses import dataclass

import tyro

from experiments.shared.diffusion_options import PathConfig, model_options
from experiments.shared.networks import make_network
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.divergences.couplings import COUPLINGS
from gen_jax.errors import check_choice
from gen_jax.flow_matching import flow_matching
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(PathConfig):
    """Conditional flow matching; the defaults train on 8x8 digits in half a minute on two cores."""

    path: str = "linear"
    time_density: str = "uniform"
    coupling: str = "independent"
    """independent, paired, optimal_assignment or sinkhorn"""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("coupling", self.coupling, COUPLINGS)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    return flow_matching(
        make_network(config.network, spec),
        one_cycle_adam(config.steps, config.learning_rate),
        path=config.path,
        coupling=config.coupling,
        **model_options(config, spec),
    )


EXPERIMENT = Experiment("flow_matching", Config, build)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    run(EXPERIMENT, config)


if __name__ == "__main__":
    run_main(main)
