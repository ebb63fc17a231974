"""Train a flow-matching model (rectified flow by default), and look at its samples.

    python -m experiments.flow_matching --dataset 25grid
    python -m experiments.flow_matching --dataset moons --coupling optimal_assignment

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.
"""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp

from experiments.shared import pair_files
from experiments.shared.caption_checks import picture_of
from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import PathConfig, model_options
from experiments.shared.networks import make_network
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.divergences.couplings import COUPLINGS
from gen_jax.errors import ConfigError, check_choice
from gen_jax.flow_matching import flow_matching
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.paths import GaussianPath
from gen_jax.training import run_main
from gen_jax.types import Array, Key


@dataclass(frozen=True)
class Config(PathConfig):
    """Conditional flow matching; the defaults train on 8x8 digits in half a minute on two cores."""

    path: str = "linear"
    time_density: str = "uniform"
    coupling: str = "independent"
    """independent, paired, optimal_assignment or sinkhorn"""
    pairs: bool = False
    """Train on the run's own pairs.npz, which `experiments.reflow` makes."""
    distilled: bool = False
    """Train at t = 1 alone: one Euler step learns the pairs."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("coupling", self.coupling, COUPLINGS)
        if self.pairs and (self.directory is None or self.coupling not in NO_COUPLING):
            raise ConfigError("pairs=True needs directory, and no coupling of its own")
        if self.distilled and not self.pairs:
            raise ConfigError("distilled=True needs pairs=True: independent noise has no mapping")


NO_COUPLING = ("independent", "paired")


def at_the_noise(key: Key[Array, ""], path: GaussianPath, n: int) -> Array:
    """t = 1 for all."""
    return jnp.ones(n)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    options = model_options(config, spec)
    if config.distilled:
        options["time_density"] = at_the_noise
    return flow_matching(
        make_network(config.network, spec),
        one_cycle_adam(config.steps, config.learning_rate),
        path=config.path,
        coupling=config.coupling,
        **options,
    )


EXPERIMENT = Experiment("flow_matching", Config, build, "flow matching", level="first")


def main() -> None:
    config = read_options(Config, __doc__)
    config.check()
    train = None
    if config.pairs:
        file = Path(config.directory or "") / pair_files.NAME
        if not file.is_file():
            raise ConfigError(f"pairs=True, but there is no {str(file)!r}: see experiments.reflow")
        train = pair_files.read_pairs(file)
    run(EXPERIMENT, config, picture_of(config.dataset), train=train)


if __name__ == "__main__":
    run_main(main)
