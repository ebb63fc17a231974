"""What experiments on a frozen base share: whether its data are theirs."""

from typing import Any

from experiments.shared.registry import Saved
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError


def check_same_data(config: Any, spec: DatasetSpec, base: Saved) -> None:
    """Raise ConfigError for a base that was trained on another set, and for data but images."""
    if (base.spec.name, base.spec.shape) != (spec.name, spec.shape):
        raise ConfigError(
            f"from={config.initial_run!r} was trained on {base.spec.name!r} {base.spec.shape}, "
            f"dataset={spec.name!r} has {spec.shape}"
        )
    if spec.kind != "images":
        raise ConfigError(f"dataset={spec.name!r} has no images")
