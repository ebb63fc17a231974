"""A small convolutional classifier: the feature network of the metrics, or a guide for diffusion.

    python -m experiments.classifier --dataset mnist
    python -m experiments.classifier --dataset digits --noise-conditioned

The first writes `gen_jax/metrics/weights/DATASET.npz`, whose hash is printed beside every number
made with it. The second trains on noisy images and keeps its weights in its run directory, for
classifier guidance: `python -m experiments.sample RUN --classifier runs/noisy_classifier-DATASET`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.shared.config import RunConfig
from experiments.shared.noisy_classifier import network_of
from experiments.shared.option_types import MAX_WIDTH, Count, Positive, Steps, Width, within
from experiments.shared.registry import Experiment
from experiments.shared.runner import default_directory, start
from gen_jax import data, metrics, training
from gen_jax.data import DatasetSpec
from gen_jax.diffusion.noisy_classifier import noisy_classifier, shift_and_flip
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel
from gen_jax.nets import Classifier
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


def test_accuracy(network: Classifier, params: Any, dataset: str) -> float:
    """Share of the test set classified correctly."""
    test = data.load(dataset, "test")
    predict = jax.jit(lambda x: network.apply(params, x / 127.5 - 1)[0].argmax(-1))
    parts = np.array_split(np.arange(len(test["x"])), max(len(test["x"]) // 500, 1))
    right = [predict(test["x"][p].astype(np.float32)) == test["y"][p] for p in parts]
    return float(np.concatenate(right).mean())


def save(config: Config, spec: DatasetSpec, params: Any) -> Path:
    """Write the weights as the metrics read them, with the accuracy of what was stored."""
    network = network_of(config, spec)
    stored = jax.tree.map(lambda p: p.astype(jnp.float16).astype(jnp.float32), params)
    accuracy = test_accuracy(network, stored, config.dataset)
    path = metrics.features.WEIGHTS / f"{config.dataset}.npz"
    metadata = {
        "architecture": "Classifier",
        "arguments": {
            "num_classes": spec.num_classes,
            "widths": list(config.widths),
            "features": config.features,
        },
        "dataset": config.dataset,
        "image_shape": list(spec.shape),
        "accuracy": accuracy,
    }
    digest = metrics.save_classifier(path, stored, metadata)
    print(f"test accuracy {accuracy:.4f}, weights {path} ({digest})")
    return path


GUIDE = Experiment("classifier", Config, build)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
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
