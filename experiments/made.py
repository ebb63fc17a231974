"""Train a masked autoencoder (MADE) on images or points, and look at its samples.

    python -m experiments.made                                   # 8x8 digits, 256 grey levels
    python -m experiments.made --dataset binarized:mnist --steps 12000 --hidden 1000 1000
    python -m experiments.made --dataset 8gaussians --orders 2

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.
"""

from dataclasses import dataclass
from typing import Annotated

from experiments.shared.autoregressive_options import LabelledRun, make_likelihood
from experiments.shared.command_line import read_options
from experiments.shared.config import condition_of
from experiments.shared.option_types import Width, Widths, within
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.autoregressive import made
from gen_jax.data import DatasetSpec
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(LabelledRun):
    """MADE; the defaults train on 8x8 digits in a minute on two cores."""

    likelihood: str = "auto"
    """auto, bernoulli, categorical, gaussian, gaussian_mixture or logistic_mixture"""
    components: Width = 10
    """Of the mixtures."""
    hidden: Widths = (256, 256)
    """Widths of the hidden layers."""
    orders: Annotated[int, *within(1, 10_000)] = 1
    """Orderings of the coordinates, the first one natural; the model is their mixture."""


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    likelihood, transform = make_likelihood(config.likelihood, spec, config.components, False)
    return made(
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        likelihood=likelihood,
        hidden=config.hidden,
        orders=config.orders,
        transform=transform,
        condition=condition_of(config, spec),
        condition_dropout=config.label_dropout,
        ema_decay=config.ema_decay,
    )


EXPERIMENT = Experiment("made", Config, build, "autoregressive")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
