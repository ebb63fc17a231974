"""The network of `experiments.classifier`, and what it says of labels, for guidance."""

from typing import Any

from gen_jax.data import DatasetSpec
from gen_jax.diffusion.noisy_classifier import label_log_prob
from gen_jax.errors import ConfigError
from gen_jax.nets import Classifier
from gen_jax.paths import PATHS
from gen_jax.types import Array, Denoiser


def network_of(config: Any, spec: DatasetSpec) -> Classifier:
    """The network; raises ConfigError for a dataset without images or labels."""
    if spec.kind != "images" or spec.num_classes < 2:
        raise ConfigError(f"dataset={config.dataset!r} has no labelled images to classify")
    return Classifier(
        spec.num_classes,
        widths=config.widths,
        features=config.features,
        noise_conditioned=config.noise_conditioned,
    )


def log_likelihood(config: Any, spec: DatasetSpec, params: Any, label: Array) -> Denoiser:
    """`(x_t [B, H, W, C] in [-1, 1], t [B]) -> log p(label [B] | x_t)` [B] on the run's path."""
    return label_log_prob(network_of(config, spec), PATHS[config.path](), params, label)
