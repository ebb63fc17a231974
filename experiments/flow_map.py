"""Train a few-step model: a flow map from noise to data in one, two or four network calls.

    python -m experiments.flow_map                             # 8x8 digits
    python -m experiments.flow_map --dataset 8gaussians --loss lagrangian
    python -m experiments.diffusion --noise-input slow_angle --directory runs/parent
    python -m experiments.flow_map --from runs/parent          # tunes a diffusion run

Then `python -m experiments.sample RUN_DIR --num-steps 2`; another `--stepper` samples it as a
diffusion model. The parent must have the same network, path, prediction and noise input.
"""

from dataclasses import dataclass, field

import tyro

from experiments.shared.config import RunConfig
from experiments.shared.diffusion_options import check_shared, likelihood_of, transform_of
from experiments.shared.networks import NetworkConfig, make_network
from experiments.shared.option_types import Count, Positive, Share, Weight
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice
from gen_jax.flow_matching import FEW_STEP_LOSSES, flow_map_model
from gen_jax.flow_matching.flow_map_model import SMOOTH
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """A flow map; the defaults train on 8x8 digits in two minutes on two cores."""

    loss: str = "improved_mean_flow"
    """mean_flow, improved_mean_flow, shortcut, consistency or lagrangian"""
    path: str = "cosine"
    """linear, cosine, vp, sub_vp, ve, edm, ddpm or ddpm_cosine"""
    prediction: str = "v"
    """What the network predicts: v, velocity or F."""
    velocity_share: Share = 0.75
    """Share of the examples that train the velocity alone."""
    adaptive: Weight = 0.0
    """Power of the weight 1 / error of each example."""
    gamma: Share = 0.0
    """Of the jumps: 0 follows the flow, 1 adds noise again after each."""
    time_density: str = "low_discrepancy"
    """uniform, low_discrepancy, logit_normal or log_normal"""
    noise_input: str = "slow_angle"
    """What the network sees of the times: slow_angle, angle or log_snr."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998
    label_dropout: Share = 0.1
    stepper: str = "adams"
    """Sampler where more calls are wanted: `--stepper`."""
    sampling_steps: Count = 1
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("loss", self.loss, FEW_STEP_LOSSES)
        check_choice("prediction", self.prediction, SMOOTH)
        check_shared(self)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    transform, data_std = transform_of(spec)
    return flow_map_model(
        make_network(config.network, spec),
        config.path,
        one_cycle_adam(config.steps, config.learning_rate),
        config.loss,
        shape=spec.shape,
        prediction=config.prediction,
        velocity_share=config.velocity_share,
        adaptive=config.adaptive,
        gamma=config.gamma,
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


EXPERIMENT = Experiment("flow_map", Config, build)


def main() -> None:
    run(EXPERIMENT, tyro.cli(Config, description=__doc__))


if __name__ == "__main__":
    run_main(main)
