"""Options of a training run: the frozen configuration, its checks, and its way through JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, ClassVar, get_type_hints

import tyro

from experiments.shared.option_types import Count, Duration, Seed, Steps, within
from experiments.shared.plugins import load_plugin
from gen_jax import data, training
from gen_jax.conditions import Labels
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.ranges import check_ranges


@dataclass(frozen=True)
class RunConfig:
    """Options of every training run."""

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Options that older runs have by another name: old -> new."""

    dataset: str = "digits"
    """A name shown by `python -m experiments.list`, or folder:PATH."""
    steps: Steps = 2500
    batch_size: Count = 128
    seed: Seed = 0
    directory: str | None = None
    """Where the run is kept; runs/EXPERIMENT-DATASET if not given, with -seedN for another seed
    than 0. A run that is there resumes."""
    save_every: Steps = 500
    log_every: Steps = 100
    keep: Steps = 3
    """Checkpoints kept, besides the best."""
    sample_every: Duration = 0
    """Write a picture of samples every so many steps; 0 is only at the end."""
    cpu_devices: Annotated[int | None, *within(1, training.MAX_CPU_DEVICES)] = None
    """jax devices on a CPU; if not given, one per core for a U-Net and 1 for other networks."""
    allow_changed: tuple[str, ...] = ()
    """Options that may differ from those of the run that resumes, by last name."""
    initial_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A run whose trained parameters this one starts from (fine-tuning)."""
    plugin: str | None = None
    """Your own module, imported first: what it adds to the registries can be chosen by name."""
    fsdp: bool = False
    """Shard parameters and optimizer state over the devices."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        load_plugin(self.plugin)
        check_ranges(self)
        data.registry.find(self.dataset)


def condition_of(config: Any, spec: DatasetSpec) -> Labels | None:
    """The labels that condition a model, where `conditional` asks for them. Raises ConfigError for
    data without labels.
    """
    if config.conditional and not spec.num_classes:
        raise ConfigError(f"conditional=True, but dataset {spec.name!r} has no labels")
    return spec.condition if config.conditional else None


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
