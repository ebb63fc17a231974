"""Train a VAE from images of which few have labels; it classifies, and samples by class (model M2).

    python -m experiments.few_labels                                           # 8x8 digits
    python -m experiments.few_labels --labels 20

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`, which also
measures a plain classifier: the same network, trained on the labelled images alone.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from experiments.shared import pictures
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.label_classifier import labelled, measure_test
from experiments.shared.option_types import (
    MAX_COUNT,
    MAX_STEPS,
    MAX_WIDTH,
    Count,
    Positive,
    Steps,
    Widths,
    of,
)
from experiments.shared.registry import Experiment
from experiments.shared.runner import start
from experiments.shared.vae_options import check_shared, model_options
from gen_jax import data, training, vae
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_range
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.types import State


@dataclass(frozen=True)
class Config(RunConfig):
    """A semi-supervised VAE; the defaults train on 8x8 digits in minutes on two cores."""

    steps: Steps = 1500
    labels: Count = 50
    """Training images whose labels are kept, as many of each class."""
    likelihood: str = "auto"
    """auto, gaussian, gaussian_scalar, gaussian_diagonal, bernoulli, categorical,
    discretized_logistic or discretized_logistic_mixture"""
    latent: Annotated[int, *of(vae.Options, "latent", MAX_WIDTH)] = 8
    hidden: Widths = (256,)
    weight: Annotated[float, *of(vae.Options, "weight")] = 100.0
    """Of the classifier's cross-entropy on labelled images."""
    num_samples: Annotated[int, *of(vae.Options, "num_samples", MAX_COUNT)] = 1
    """Draws of z per example and label."""
    beta: Annotated[float, *of(vae.Options, "beta")] = 1.0
    warm_up: Annotated[int, *of(vae.Options, "warm_up", MAX_STEPS)] = 0
    """Steps over which beta rises from 0."""
    free_bits: Annotated[float, *of(vae.Options, "free_bits")] = 0.0
    """Nats per latent dimension that cost nothing more."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_shared(self)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind != "images" or spec.num_classes < 2:
        raise ConfigError(f"dataset={config.dataset!r} has no labelled images")
    check_range("labels", config.labels, spec.num_classes, integer=True)
    options = model_options(config, spec, vae.Options)
    network, optimizer = vae.mlp(config.hidden), one_cycle_adam(config.steps, config.learning_rate)
    options["condition"] = spec.condition
    return vae.semi_supervised(network, network, network, optimizer, **options)


EXPERIMENT = Experiment(
    "few_labels", Config, build, "vae", measure_test=measure_test, kinds="images"
)


def main() -> None:
    config = read_options(Config, __doc__)
    begun = start(EXPERIMENT, config)
    model, classes, y = build(config, begun.spec), begun.spec.num_classes, begun.train["y"]
    kept = np.isin(np.arange(len(y)), labelled(config, y, classes))
    known = {"x": begun.train["x"], "y": np.where(kept, y, classes).astype(np.int32)}

    def write(step: int, state: State) -> None:
        print(f"picture: {pictures.write_samples(begun.directory, model, begun.spec, state, step)}")

    every = config.sample_every
    state = training.fit(
        begun.key,
        model,
        known,
        sample_every=every,
        on_sample=write if every else None,
        **begun.fit_options,
    )
    write(config.steps, state)
    training.write_report(begun.directory)


if __name__ == "__main__":
    training.run_main(main)
