"""Train a diffusion model on its likelihood, with a schedule that is learned (VDM).

    python -m experiments.variational_diffusion                       # 8x8 digits
    python -m experiments.variational_diffusion --learned-ends --fourier 3 4
    python -m experiments.variational_diffusion --dataset 8gaussians --low -6

Then `python -m experiments.evaluate RUN_DIR` gives the bound in bits/dim.
"""

from dataclasses import dataclass, field
from typing import Annotated

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.diffusion_options import transform_of
from experiments.shared.networks import NetworkConfig, make_network
from experiments.shared.option_types import Count, Positive, Share, within
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data, nets
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import STEPPERS, variational_diffusion
from gen_jax.errors import check_choice, check_range
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.parameterisations import PARAMETERISATIONS
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A variational diffusion model, with the labels hidden in half of the examples."""

    prediction: str = "v"
    """What the network predicts: x0, eps, score, v, velocity or F."""
    low: Annotated[float, *within(-20, 20)] = -13.3
    """gamma at the data; its signal-to-noise ratio is exp(-gamma)."""
    high: Annotated[float, *within(-20, 20)] = 5.0
    """gamma at the noise."""
    learned_ends: bool = False
    """Train both ends on the bound."""
    waves: Count = 32
    """Sigmoids of the schedule's shape, which is trained on the variance of the loss."""
    fourier: Annotated[tuple[int, ...], *within(-10, 16, entries=0)] = ()
    """Exponents n: the network sees sin and cos of 2^n pi x as well."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998
    label_dropout: Share = 0.5
    stepper: str = "adams"
    """Default sampler, as of a diffusion model."""
    sampling_steps: Count = 32
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("prediction", self.prediction, PARAMETERISATIONS)
        check_choice("stepper", self.stepper, STEPPERS)
        check_range("high", self.high, self.low, open_low=True)
        self.network.check()


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    points = spec.kind == "points"
    network = make_network(config.network, spec)
    if config.fourier:
        network = nets.FourierFeatures(network, tuple(config.fourier))
    return variational_diffusion(
        network,
        one_cycle_adam(config.steps, config.learning_rate),
        schedule=nets.MonotoneSchedule(config.low, config.high, config.waves, config.learned_ends),
        bin_width=None if points else 2 / 256,
        shape=spec.shape,
        prediction=config.prediction,
        condition=spec.condition,
        condition_dropout=config.label_dropout,
        ema_decay=config.ema_decay,
        transform=transform_of(spec)[0] if points else data.bin_centres(),
        stepper=config.stepper,
        num_steps=config.sampling_steps,
    )


EXPERIMENT = Experiment("variational_diffusion", Config, build, "diffusion")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
