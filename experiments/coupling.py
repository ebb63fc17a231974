"""Train a flow from degraded images to clean ones: inpainting, super-resolution, denoising, pairs.

    python -m experiments.coupling                                     # lower half hidden
    python -m experiments.coupling --operator super_resolution --factor 2
    python -m experiments.coupling --dataset thick:digits --tau 0.3

Then `python -m experiments.evaluate RUN_DIR`: besides the distances of samples, the signal-to-noise
ratio of one sample and of the guess it starts from, and how much the samples of one guess differ.
Pairs (edges:, thick:, colour: and a name) go from the left image to the right one.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.degradations import OPERATORS, degradation, near_targets
from experiments.shared.diffusion_options import transform_of
from experiments.shared.networks import NetworkConfig, make_network
from experiments.shared.option_types import Count, Positive, Share, Weight, Width
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice
from gen_jax.flow_matching import coupled
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A flow from A^+ y plus noise; the defaults train on 8x8 digits."""

    operator: str = "inpainting"
    """inpainting (the lower half is hidden), super_resolution or denoising; not of pairs"""
    factor: Width = 2
    """Of super_resolution."""
    noise_std: Weight = 0.1
    """Of the measurement, in units of images in [-1, 1]."""
    tau: Weight = 0.5
    """Noise on what the flow starts from; at 0 it learns the mean image."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998
    sampling_steps: Count = 32
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("operator", self.operator, OPERATORS)
        self.network.check()


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    degrade, shape = degradation(config, spec)
    transform, data_std = transform_of(spec)
    network = make_network(config.network, spec)
    return coupled(
        network.clone(num_classes=0),
        one_cycle_adam(config.steps, config.learning_rate),
        degrade,
        shape=shape,
        tau=config.tau,
        data_std=data_std,
        transform=transform,
        ema_decay=config.ema_decay,
        num_steps=config.sampling_steps,
    )


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """How near samples come to held-out targets, and how much those of one guess differ."""
    return near_targets(saved, test, num)


EXPERIMENT = Experiment(
    "coupling", Config, build, "flow matching", measure_test=measure_test, kinds="images"
)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
