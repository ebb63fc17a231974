"""What experiments on a frozen base share: batches changed for it, whether its data are theirs."""

from collections.abc import Callable
from typing import Any

from experiments.shared.registry import Saved
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.types import Batch

BASES = ("diffusion", "flow_matching")
"""Experiments whose runs can be adapted."""


def on_batches(model: GenerativeModel, change: Callable[[Batch], Batch]) -> GenerativeModel:
    """The model trained on `change(batch)`, such as one with further labels."""
    return model._replace(
        init=lambda key, batch: model.init(key, change(batch)),
        step=lambda key, state, batch: model.step(key, state, change(batch)),
    )


def check_same_data(config: Any, spec: DatasetSpec, base: Saved) -> None:
    """Raise ConfigError for a base that was trained on another set, and for data but images."""
    if (base.spec.name, base.spec.shape) != (spec.name, spec.shape):
        raise ConfigError(
            f"from={config.initial_run!r} was trained on {base.spec.name!r} {base.spec.shape}, "
            f"dataset={spec.name!r} has {spec.shape}"
        )
    if spec.kind != "images":
        raise ConfigError(f"dataset={spec.name!r} has no images")
