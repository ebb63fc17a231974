"""Train a few-step model: a flow map from noise to data in one, two or four network calls.

    python -m experiments.flow_map                             # 8x8 digits
    python -m experiments.flow_map --dataset 8gaussians --loss lagrangian
    python -m experiments.diffusion --noise-input angle --directory runs/parent
    python -m experiments.flow_map --from runs/parent          # tunes a diffusion run
    python -m experiments.flow_map --from runs/parent --distil --guidance 2   # learns its flow

Then `python -m experiments.sample RUN_DIR --num-steps 2`; another `--stepper` samples it as a
diffusion model. The parent must have the same network, path, prediction and noise input.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from experiments.shared.bases import BASES, check_same_data
from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import PathConfig, model_options
from experiments.shared.networks import make_network
from experiments.shared.option_types import MAX_COUNT, Count, Positive, of, within
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import check_same_meaning, run
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice
from gen_jax.flow_matching import FEW_STEP_LOSSES, FewSteps, distilled_flow_map, flow_map_model
from gen_jax.flow_matching.distillation import SHARED
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
    guidance: Annotated[float, *of(FewSteps, "guidance")] = 1.0
    """Weight of classifier-free guidance that is learnt: samples have it at no further call."""
    distil: bool = False
    """Learn the flow of the run of --from, which is kept, in place of the pairs' own."""
    noise_input: str = "angle"
    sampling_steps: Count = 1

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("loss", self.loss, FEW_STEP_LOSSES)
        check_choice("prediction", self.prediction, SMOOTH)
        if self.distil and self.initial_run is None:
            raise ConfigError("distil=True needs a run to learn from: from=RUN")
        if self.loss == "moment_matching" and self.batch_size % self.group:
            raise ConfigError(f"group={self.group} must divide batch_size={self.batch_size}")


def loss_options(config: Config) -> dict[str, Any]:
    """What the two losses that compare samples take besides."""
    further: dict[str, dict[str, Any]] = {
        "moment_matching": {"group": config.group},
        "drifting": {"temperature": config.temperature},
    }
    return further.get(config.loss, {})


def check_same_network(config: Config, teacher: Saved) -> None:
    """Raise ConfigError where the teacher, whose network this run has, has other options."""
    check_same_meaning("flow_map", config, teacher)
    for name in ("path", "label_dropout", "network"):
        own, theirs = getattr(config, name), getattr(teacher.config, name)
        if own != theirs:
            raise ConfigError(
                f"{name}={own!r}: distil=True learns with the network of {config.initial_run!r}, "
                f"which has {theirs!r}"
            )


def build(
    config: Config, spec: DatasetSpec | None = None, teacher: Saved | None = None
) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    names = ("velocity_share", "adaptive", "warmup_steps", "gamma", "guidance")
    own = {name: getattr(config, name) for name in names}
    options = {**own, "loss_options": loss_options(config), "prediction": config.prediction}
    optimizer = one_cycle_adam(config.steps, config.learning_rate)
    options |= model_options(config, spec)
    if teacher is None:
        network = make_network(config.network, spec)
        return flow_map_model(network, config.path, optimizer, config.loss, **options)
    check_same_data(config, spec, teacher)
    check_same_network(config, teacher)
    options = {name: value for name, value in options.items() if name not in SHARED}
    return distilled_flow_map(teacher.model, teacher.state, optimizer, config.loss, **options)


EXPERIMENT = Experiment(
    "flow_map",
    Config,
    build,
    "flow matching",
    level="research",
    bases=BASES,
    needs_base=lambda config: config.distil,
)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
