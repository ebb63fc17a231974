"""What the experiments with flows share: checks of options, units, the layer of TemperFlow."""

from dataclasses import dataclass
from typing import Any

from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_range

ALPHA = 0.01
"""Pixels are squeezed into [ALPHA, 1 - ALPHA] before their logit."""


@dataclass(frozen=True)
class FlowConfig:
    """Masked autoregressive splines."""

    layers: int = 1
    spline: str = "linear_rational"
    """linear_rational or rational_quadratic"""
    bins: int = 32
    half_width: float = 5.0
    hidden: tuple[int, ...] = (64, 64)
    block: int = 1
    """Coordinates that move together: fewer steps per sample in many dimensions."""


def check_training(config: Any) -> None:
    """Raise ConfigError for options of the flows' training that cannot work."""
    check_range("learning_rate", config.learning_rate, 0, open_low=True)
    check_range("ema_decay", config.ema_decay, 0, 1)


def classes_of(config: Any, spec: DatasetSpec) -> int:
    """The number of labels that condition the flow; ConfigError when there are none to do so."""
    if config.conditional and not spec.num_classes:
        raise ConfigError(f"conditional=True, but dataset {spec.name!r} has no labels")
    return spec.num_classes if config.conditional else 0


def transform_of(spec: DatasetSpec) -> data.Transform:
    """Data units to those of the flow: points of unit size, logits of dequantised pixels."""
    if spec.kind == "points":
        return data.standardize(spec.mean, spec.std)
    return data.chain(data.dequantize(), data.logit(ALPHA))


def check_images(spec: DatasetSpec, name: str) -> None:
    """Raise ConfigError for data that are no images."""
    if spec.kind != "images":
        raise ConfigError(f"{name} needs images; dataset {spec.name!r} has points")
