"""Train a flow-matching model (rectified flow by default), and look at its samples.

    python -m experiments.flow_matching --dataset 25grid
    python -m experiments.flow_matching --dataset moons --coupling optimal_assignment

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.
"""

from dataclasses import dataclass, field

import tyro

from experiments.shared.config import RunConfig
from experiments.shared.diffusion_options import check_shared, likelihood_of, transform_of
from experiments.shared.networks import NetworkConfig, make_network
from experiments.shared.option_types import Count, Positive, Share
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
class Config(RunConfig):
    """Conditional flow matching; the defaults train on 8x8 digits in half a minute on two cores."""

    path: str = "linear"
    """linear, cosine, vp, sub_vp, ve, edm, ddpm or ddpm_cosine"""
    coupling: str = "independent"
    """independent, paired, optimal_assignment or sinkhorn"""
    time_density: str = "uniform"
    """uniform, low_discrepancy, logit_normal or log_normal"""
    noise_input: str = "log_snr"
    """What the network sees of the time: log_snr or angle."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998
    label_dropout: Share = 0.1
    stepper: str = "adams"
    """Default sampler; adams is as good as any at 5 to 80 network calls (`python -m
    experiments.list` shows all). Of dx/dt are euler, midpoint, heun and rk4."""
    sampling_steps: Count = 32
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("coupling", self.coupling, COUPLINGS)
        check_shared(self)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    transform, data_std = transform_of(spec)
    return flow_matching(
        make_network(config.network, spec),
        one_cycle_adam(config.steps, config.learning_rate),
        path=config.path,
        coupling=config.coupling,
        shape=spec.shape,
        time_density=config.time_density,
        noise_input=config.noise_input,
        data_std=data_std,
        condition=spec.condition,
        condition_dropout=config.label_dropout,
        ema_decay=config.ema_decay,
        transform=transform,
        stepper=config.stepper,
        num_steps=config.sampling_steps,
        likelihood=likelihood_of(spec),
    )


EXPERIMENT = Experiment("flow_matching", Config, build)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    run(EXPERIMENT, config)


if __name__ == "__main__":
    run_main(main)
