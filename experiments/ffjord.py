"""Train a continuous flow (FFJORD) on points or small images; look at its density.

    python -m experiments.ffjord                                # eight Gaussians
    python -m experiments.ffjord --dataset moons --divergence exact
    python -m experiments.ffjord --dataset digits --hidden 256 256 --kinetic 0.01

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.

With the defaults on eight Gaussians it is far from converged.
"""

from dataclasses import dataclass
from typing import Annotated

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig, condition_of
from experiments.shared.flow_options import transform_of
from experiments.shared.option_types import Count, Positive, Share, Steps, Widths, of
from experiments.shared.pictures import density
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice
from gen_jax.flows.ffjord import Options, ffjord
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.solvers.divergence import DIVERGENCES
from gen_jax.solvers.ode import TABLEAUS
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A continuous flow by maximum likelihood; the defaults take some minutes on two cores."""

    dataset: str = "8gaussians"
    steps: Steps = 2000
    batch_size: Count = 256
    hidden: Widths = (64, 64, 64)
    """Widths of the field's network."""
    solver_steps: Count = 8
    """Of the ODE solver in training; likelihoods take twice as many."""
    method: str = "rk4"
    """euler, midpoint, heun, ralston or rk4"""
    divergence: str = "hutchinson"
    """exact or hutchinson, in training"""
    kinetic: Annotated[float, *of(Options, "kinetic")] = 0.0
    """Weight of the squared speed along the way in the loss."""
    jacobian: Annotated[float, *of(Options, "jacobian")] = 0.0
    """Weight of the field's squared derivative along the way in the loss."""
    conditional: bool = False
    """Condition on the labels."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("method", self.method, TABLEAUS)
        check_choice("divergence", self.divergence, DIVERGENCES)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    return ffjord(
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        hidden=config.hidden,
        num_steps=config.solver_steps,
        method=config.method,
        divergence=config.divergence,
        kinetic=config.kinetic,
        jacobian=config.jacobian,
        transform=transform_of(spec),
        condition=condition_of(config, spec),
        ema_decay=config.ema_decay,
    )


EXPERIMENT = Experiment("ffjord", Config, build, "flows")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), density)


if __name__ == "__main__":
    run_main(main)
