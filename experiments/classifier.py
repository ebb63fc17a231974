"""A small convolutional classifier: the feature network of the metrics, or a guide for diffusion.

    python -m experiments.classifier --dataset mnist
    python -m experiments.classifier --dataset digits --noise-conditioned

The first writes `gen_jax/metrics/weights/DATASET.npz`, whose hash is printed beside every number
made with it. The second trains on noisy images and keeps its weights in its run directory, for
classifier guidance: `python -m experiments.sample RUN --classifier runs/noisy_classifier-DATASET`.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import jax.numpy as jnp
import optax

from experiments.shared.classifier_weights import save
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.noisy_classifier import network_of
from experiments.shared.option_types import MAX_WIDTH, Count, Positive, Steps, Width, within
from experiments.shared.registry import Experiment
from experiments.shared.runner import default_directory, start
from gen_jax import data, training
from gen_jax.data import DatasetSpec
from gen_jax.diffusion.noisy_classifier import noisy_classifier, shift_and_flip
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel
from gen_jax.paths import PATHS


@dataclass(frozen=True)
class Config(RunConfig):
    """A classifier of one image dataset."""

    dataset: str = "digits"
    steps: Steps = 3000
    batch_size: Count = 128
    learning_rate: Positive = 2e-3
    widths: Annotated[tuple[int, ...], *within(4, MAX_WIDTH)] = (32, 64, 96)
    features: Width = 96
    noise_conditioned: bool = False
    path: str = "cosine"
    """Path of the noise, when noise-conditioned."""
    shift: Annotated[int, *within(0, 64)] = 2
    """Random shift in pixels (half of it for images under 16 pixels)."""
    flip: bool = False
    """Random left-right flips."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("path", self.path, PATHS)
        if not self.noise_conditioned and self.dataset not in data.DATASETS:
            raise ConfigError(
                f"dataset={self.dataset!r} has no name for its weights (add it to "
                "DATASETS, or use --noise-conditioned)"
            )


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """init and step of the classifier; it has nothing to sample."""
    config.check()
    spec = spec or data.describe(config.dataset)
    network = network_of(config, spec)
    schedule = optax.cosine_onecycle_schedule(config.steps, config.learning_rate, 0.1)
    shift = config.shift if min(spec.shape[:2]) >= 16 else config.shift // 2
    return noisy_classifier(
        network,
        PATHS[config.path]() if config.noise_conditioned else None,
        optax.adamw(schedule, weight_decay=0.02),
        shape=spec.shape,
        num_classes=spec.num_classes,
        encode=lambda x: x.astype(jnp.float32) / 127.5 - 1,
        augment=shift_and_flip(shift, config.flip),
        smoothing=0.0 if config.noise_conditioned else 0.05,
    )


GUIDE = Experiment("classifier", Config, build, "diffusion")


def main() -> None:
    config = read_options(Config, __doc__)
    if config.noise_conditioned and config.directory is None:
        directory = default_directory("noisy_classifier", config.dataset, config.seed)
        config = replace(config, directory=directory)
    run = start(GUIDE, config)
    state = training.fit(run.key, build(config, run.spec), run.train, **run.fit_options)
    if config.noise_conditioned:
        print(f"guide: --classifier {run.directory}")
    else:
        save(config, run.spec, state.ema)


if __name__ == "__main__":
    training.run_main(main)
