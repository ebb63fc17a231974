"""Train a model of images pixel by pixel: PixelRNN, PixelCNN, gated PixelCNN or PixelCNN++.

    python -m experiments.pixelcnn                               # gated, 8x8 digits
    python -m experiments.pixelcnn --dataset binarized:mnist --steps 20000 --batch-size 32
    python -m experiments.pixelcnn --network.name pixelcnn_pp --likelihood logistic_mixture

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.
"""

from dataclasses import dataclass, field

from experiments.shared.autoregressive_options import LabelledRun, PixelNetwork, make_likelihood
from experiments.shared.command_line import read_options
from experiments.shared.config import condition_of
from experiments.shared.option_types import Count, Positive, Steps, Width
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.autoregressive import NETWORKS, pixel_model
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(LabelledRun):
    """Pixel by pixel; the defaults train on 8x8 digits in two minutes on two cores."""

    steps: Steps = 1500
    batch_size: Count = 64
    network: PixelNetwork = field(default_factory=PixelNetwork)
    likelihood: str = "auto"
    """auto, bernoulli, categorical or logistic_mixture"""
    components: Width = 10
    """Of the mixture."""
    learning_rate: Positive = 4e-3
    """Peak of a one-cycle schedule of Adam."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("network.name", self.network.name, NETWORKS)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind != "images":
        raise ConfigError(f"dataset={config.dataset!r} has no images")
    likelihood, transform = make_likelihood(config.likelihood, spec, config.components, True)
    return pixel_model(
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        network=config.network.name,
        likelihood=likelihood,
        dropout=config.network.dropout,
        sizes=config.network.sizes(),
        transform=transform,
        condition=condition_of(config, spec),
        condition_dropout=config.label_dropout,
        ema_decay=config.ema_decay,
    )


EXPERIMENT = Experiment("pixelcnn", Config, build, "autoregressive", kinds="images")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
