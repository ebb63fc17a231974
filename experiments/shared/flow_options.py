"""What the experiments with flows share: units of the data, the layer of TemperFlow."""

from dataclasses import dataclass

from experiments.shared.option_types import Layers, Positive, Width, Widths
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError

ALPHA = 0.01
"""Pixels are squeezed into [ALPHA, 1 - ALPHA] before their logit."""


@dataclass(frozen=True)
class FlowConfig:
    """Masked autoregressive splines."""

    layers: Layers = 1
    spline: str = "linear_rational"
    """linear_rational or rational_quadratic"""
    bins: Width = 32
    half_width: Positive = 5.0
    hidden: Widths = (64, 64)
    block: Width = 1
    """Coordinates that move together: fewer steps per sample in many dimensions."""


def transform_of(spec: DatasetSpec) -> data.Transform:
    """Data units to those of the flow: points of unit size, logits of dequantised pixels."""
    if spec.kind == "points":
        return data.standardize(spec.mean, spec.std)
    return data.chain(data.dequantize(), data.logit(ALPHA))


def check_images(spec: DatasetSpec, name: str) -> None:
    """Raise ConfigError for data that are no images."""
    if spec.kind != "images":
        raise ConfigError(f"{name} needs images; dataset {spec.name!r} has points")
