"""No experiment has an option that nothing reads."""

from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path

import pytest

from experiments.shared import registry, runner
from experiments.shared.config import RunConfig
from experiments.shared.networks import NetworkConfig
from gen_jax import data
from gen_jax.errors import ConfigError
from gen_jax.transport import Schedule

DATASETS = ("digits", "8gaussians", "genesis", "target:ring", "brick", "edges:digits")

CHOICES = {
    "coupling": {"operator": "super_resolution"},
    "gan": {"loss": "hinge", "conditional": "info"},
    "pca": {"kind": "gaussian"},
    "score_matching": {"loss": "ncsn"},
    "vae": {"convolutional": True},
    "text_to_image": {"model": "pixels"},
}
"""Choices, besides the defaults, that some options belong to."""

ELSEWHERE = {
    "control": {"pairs"},
    "flow_map": {"distil"},
    "flow_matching": {"pairs"},
    "gan": {"patience", "watch"},
    "mcmc": {"coldest", "leapfrog_steps", "recorded", "temperatures"},
    "personalise": {"instances", "mirrored", "num_instances", "prior_images", "prior_labels"},
    "palette": {"blur_std", "border", "factor", "quality"},
    "temperflow": {"margin", *(f"schedule.{field.name}" for field in fields(Schedule))},
    "text_to_image": {"first_steps", "prior_network.name"},
    "texture": {"side"},
    "token_diffusion": {"network.name"},
    "transformer": {"network.name"},
    "vqvae": {"prior_network.name"},
}
"""Options read outside of `build`: of the data, the watch, the pictures, the chain, within gen_jax;
and those of operators that are not the default."""


OF_BASES = {"vae": CHOICES["vae"], "diffusion": {"network": NetworkConfig("dit")}}
"""Choices of the runs that others are built on."""


def bases_of(experiment, dataset):
    """Untrained runs of what the experiment is built on, as `build` takes them."""
    found = []
    needed = experiment.bases_for(experiment.config())
    if needed and data.describe(dataset).kind != "images":
        raise ConfigError("no image")
    for name in needed[:1]:
        config, spec = (
            registry.find(name).config(dataset=dataset, **CHOICES.get(name, {})),
            data.describe(dataset),
        )
        stored = {"experiment": name, "config": asdict(config), "data": spec.to_dict()}
        found.append(runner.with_zeros(runner.untrained(Path("nowhere"), stored)))
    return found


COMMON = {field.name for field in fields(RunConfig)}


def recorder(value, seen, prefix=""):
    """A copy that notes which fields are read, but for its own `check`."""
    names = {field.name for field in fields(value)}

    class Recorder(type(value)):
        def __getattribute__(self, name):
            if name in names:
                seen.add(prefix + name)
            return super().__getattribute__(name)

        def check(self):
            pass

    copy = object.__new__(Recorder)
    for name in names:
        held = getattr(value, name)
        if is_dataclass(held):
            held = recorder(held, seen, f"{prefix}{name}.")
        object.__setattr__(copy, name, held)
    return copy


def options(value, prefix=""):
    """Names of all fields, those of groups with a dot."""
    names = set()
    for field in fields(value):
        held = getattr(value, field.name)
        inner = f"{prefix}{field.name}"
        names |= options(held, f"{inner}.") if is_dataclass(held) else {inner}
    return names


def read_by_build(name, experiment):
    """Fields that `build` reads for any of DATASETS and CHOICES."""
    seen = set()
    default = experiment.config()
    configs = [replace(default, dataset=dataset) for dataset in DATASETS]
    for config in [default, *configs, replace(default, **CHOICES.get(name, {}))]:
        try:
            config.check()
            bases = bases_of(experiment, config.dataset)
            experiment.build(recorder(config, seen), data.describe(config.dataset), *bases)
        except ConfigError:
            continue
    return seen


@pytest.mark.parametrize("name", registry.EXPERIMENTS)
def test_every_option_is_read(name):
    experiment = registry.find(name)
    seen = read_by_build(name, experiment)
    left = options(experiment.config()) - seen - COMMON - ELSEWHERE.get(name, set())
    assert left == set()
    assert seen
