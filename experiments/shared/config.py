"""Options of a training run: the frozen configuration, its checks, and its way through JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, ClassVar, get_type_hints

import tyro

from gen_jax import data, training
from gen_jax.errors import ConfigError, check_range

MAX_STEPS = 2**31 - 1
MAX_LAYERS, MAX_WIDTH = 1000, 2**16
"""A network of more layers takes minutes to trace, a wider one all memory."""


@dataclass(frozen=True)
class RunConfig:
    """Options of every training run."""

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Options that older runs have by another name: old -> new."""

    dataset: str = "digits"
    """A name shown by `python -m experiments.list`, or folder:PATH."""
    steps: int = 2500
    batch_size: int = 128
    seed: int = 0
    directory: str | None = None
    """Where the run is kept; runs/EXPERIMENT-DATASET if not given. A run that is there resumes."""
    save_every: int = 500
    log_every: int = 100
    keep: int = 3
    """Checkpoints kept, besides the best."""
    sample_every: int = 0
    """Write a picture of samples every so many steps; 0 is only at the end."""
    cpu_devices: int | None = None
    """jax devices on a CPU; if not given, one per core for a U-Net and 1 for other networks."""
    allow_changed: tuple[str, ...] = ()
    """Options that may differ from those of the run that resumes, by last name."""
    initial_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A run whose trained parameters this one starts from (fine-tuning)."""
    fsdp: bool = False
    """Shard parameters and optimizer state over the devices."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        for name in ("steps", "batch_size", "save_every", "log_every", "keep"):
            check_range(name, getattr(self, name), 1, MAX_STEPS, integer=True)
        check_range("seed", self.seed, 0, 2**32 - 1, integer=True)
        check_range("sample_every", self.sample_every, 0, integer=True)
        if self.cpu_devices is not None:
            most = training.MAX_CPU_DEVICES
            check_range("cpu_devices", self.cpu_devices, 1, most, integer=True)
        check_numbers(self)
        data.registry.find(self.dataset)


def check_numbers(part: Any, prefix: str = "") -> None:
    """Raise ConfigError for an infinite option: many ranges have no upper end."""
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            check_numbers(value, f"{prefix}{field.name}.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and math.isinf(number):
                raise ConfigError(f"{prefix}{field.name}={number} must be a finite number")


def check_sizes(
    part: Any, layers: tuple[str, ...] = (), widths: tuple[str, ...] = (), prefix: str = ""
) -> None:
    """Raise ConfigError for numbers of layers, or of units, that no network can have."""
    for names, most in ((layers, MAX_LAYERS), (widths, MAX_WIDTH)):
        for name in names:
            value = getattr(part, name)
            for number in value if isinstance(value, tuple) else (value,):
                check_range(f"{prefix}{name}", number, 1, most, integer=True)


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """A (nested) frozen configuration from JSON values, those of older runs (RENAMED) included.

    Raises ConfigError for unknown fields.
    """
    hints, names = get_type_hints(kind), {field.name for field in fields(kind)}
    renamed = getattr(kind, "RENAMED", {})
    values = {renamed.get(name, name): value for name, value in values.items()}
    if values.keys() - names:
        raise ConfigError(f"config has unknown fields {sorted(values.keys() - names)}")

    def restore(name: str, value: Any) -> Any:
        if is_dataclass(hints[name]):
            return from_dict(hints[name], value)
        return tuple(value) if isinstance(value, list) else value

    return kind(**{name: restore(name, value) for name, value in values.items()})


def renamed_options(kind: type, prefix: str = "") -> dict[str, str]:
    """RENAMED of a configuration and of those within it, with dotted names."""
    found = {
        f"{prefix}{old}": f"{prefix}{new}" for old, new in getattr(kind, "RENAMED", {}).items()
    }
    hints = get_type_hints(kind)
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            found |= renamed_options(hints[field.name], f"{prefix}{field.name}.")
    return found
