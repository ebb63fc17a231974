"""Train a few-step model: a flow map from noise to data in one, two or four network calls.

    python -m experiments.flow_map                             # 8x8 digits
    python -m experiments.flow_map --dataset 8gaussians --loss lagrangian
    python -m experiments.diffusion --noise-input angle --directory runs/parent
    python -m experiments.flow_map --from runs/parent          # tunes a diffusion run

Then `python -m experiments.sample RUN_DIR --num-steps 2`; another `--stepper` samples it as a
diffusion model. The parent must have the same network, path, prediction and noise input.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import PathConfig, model_options
from experiments.shared.networks import make_network
from experiments.shared.option_types import MAX_COUNT, Count, Positive, of, within
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice
from gen_jax.flow_matching import FEW_STEP_LOSSES, FewSteps, flow_map_model
from gen_jax.flow_matching.flow_map_model import SMOOTH
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(PathConfig):
    """A flow map; the defaults train on 8x8 digits in two minutes on two cores."""

    loss: str = "improved_mean_flow"
    """mean_flow, improved_mean_flow, shortcut, consistency, continuous_consistency, lagrangian,
    moment_matching or, of data without labels, drifting"""
    group: Annotated[int, *within(2, MAX_COUNT)] = 4
    """Of moment_matching: examples whose law is compared; divides the batch."""
    temperature: Positive = 0.1
    """Of drifting: width of the kernel over the square root of the number of dimensions."""
    prediction: str = "v"
    """What the network predicts: v, velocity or F."""
    velocity_share: Annotated[float, *of(FewSteps, "velocity_share")] = 0.75
    """Share of the examples that train the velocity alone."""
    warmup_steps: Annotated[int, *of(FewSteps, "warmup_steps", MAX_COUNT)] = 1000
    """Of continuous_consistency: steps in which the derivative's weight rises from 0 to 1."""
    adaptive: Annotated[float, *of(FewSteps, "adaptive")] = 0.0
    """Power of the weight 1 / error of each example."""
    gamma: Annotated[float | None, *of(FewSteps, "gamma")] = None
    """Of the jumps: 0 follows the flow, 1 adds noise again after each. If not given 0, and 1 for
    the two kinds of consistency."""
    noise_input: str = "angle"
    sampling_steps: Count = 1

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("loss", self.loss, FEW_STEP_LOSSES)
        check_choice("prediction", self.prediction, SMOOTH)
        if self.loss == "moment_matching" and self.batch_size % self.group:
            raise ConfigError(f"group={self.group} must divide batch_size={self.batch_size}")


def loss_options(config: Config) -> dict[str, Any]:
    """What the two losses that compare samples take besides."""
    further: dict[str, dict[str, Any]] = {
        "moment_matching": {"group": config.group},
        "drifting": {"temperature": config.temperature},
    }
    return further.get(config.loss, {})


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    return flow_map_model(
        make_network(config.network, spec),
        config.path,
        one_cycle_adam(config.steps, config.learning_rate),
        config.loss,
        prediction=config.prediction,
        velocity_share=config.velocity_share,
        adaptive=config.adaptive,
        warmup_steps=config.warmup_steps,
        gamma=config.gamma,
        loss_options=loss_options(config),
        **model_options(config, spec),
    )


EXPERIMENT = Experiment("flow_map", Config, build, "flow matching", level="research")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
