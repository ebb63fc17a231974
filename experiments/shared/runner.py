"""What every experiment shares: common options, a run from start to picture, rebuilding a run."""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import data, training
from gen_jax.data import DatasetSpec
from gen_jax.errors import CheckpointError, ConfigError, check_range
from gen_jax.model import GenerativeModel
from gen_jax.types import Array, Key, State

EXPERIMENTS = {
    "cyclegan": "experiments.cyclegan",
    "diffusion": "experiments.diffusion",
    "discrete_vae": "experiments.discrete_vae",
    "ebm": "experiments.ebm",
    "few_labels": "experiments.few_labels",
    "ffjord": "experiments.ffjord",
    "flow": "experiments.flow",
    "flow_matching": "experiments.flow_matching",
    "gan": "experiments.gan",
    "glow": "experiments.glow",
    "hierarchical_vae": "experiments.hierarchical_vae",
    "jem": "experiments.jem",
    "made": "experiments.made",
    "manifold": "experiments.manifold",
    "mcmc": "experiments.mcmc",
    "mixture": "experiments.mixture",
    "multi_view": "experiments.multi_view",
    "pca": "experiments.pca",
    "pix2pix": "experiments.pix2pix",
    "pixelcnn": "experiments.pixelcnn",
    "score_matching": "experiments.score_matching",
    "stylegan": "experiments.stylegan",
    "style_transfer": "experiments.style_transfer",
    "tarflow": "experiments.tarflow",
    "temperflow": "experiments.temperflow",
    "text_gan": "experiments.text_gan",
    "texture": "experiments.texture",
    "transformer": "experiments.transformer",
    "vae": "experiments.vae",
    "vqvae": "experiments.vqvae",
}
"""Experiments whose runs can be sampled and evaluated: name -> module with Config and build."""

TEXT = ("transformer",)
"""Experiments that take text."""

MAX_STEPS = 2**31 - 1
MAX_LAYERS, MAX_WIDTH = 1000, 2**16
"""A network of more layers takes minutes to trace, a wider one all memory."""


@dataclass(frozen=True)
class RunConfig:
    """Options of every training run."""

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


class Run(NamedTuple):
    """A run that is about to start: its data, its key, and the options of `training.fit`."""

    directory: Path
    spec: DatasetSpec
    train: dict[str, np.ndarray]
    key: Key[Array, ""]
    fit_options: dict[str, Any]


class Saved(NamedTuple):
    """A run rebuilt from its directory."""

    name: str
    directory: Path
    config: Any
    spec: DatasetSpec
    model: GenerativeModel
    state: State
    step: int
    digests: Mapping[str, str] = {}
    """Of its data, see `data.digests`; none in runs that are older than these."""


def default_directory(name: str, dataset: str) -> str:
    """Where a run is kept when nothing is said."""
    slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in dataset)
    return f"runs/{name}-{slug}"


def start(name: str, config: RunConfig, load_data: bool = True) -> Run:
    """Check the options, prepare jax, load the data (zeros in their place if not needed)."""
    config.check()
    network = getattr(config, "network", None)
    # Sharding pays for convolutions only, which jax 0.10 runs on one core each.
    many = None if network is not None and network.name == "unet" else 1
    training.configure_backend(config.cpu_devices or many)
    spec = data.describe(config.dataset)
    if spec.kind == "text" and name not in TEXT:
        raise ConfigError(f"dataset={config.dataset!r} is text, which is for: {', '.join(TEXT)}")
    if load_data:
        train = data.load(config.dataset, "train")
    else:
        train = {"x": np.zeros((config.batch_size, *spec.shape), np.float32)}
    data.check_batchable(train, config.batch_size, spec.num_classes or None)
    directory = Path(config.directory or default_directory(name, config.dataset)).absolute()
    options = {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "directory": directory,
        "config": {
            "experiment": name,
            "config": asdict(config),
            "data": spec.to_dict(),
            "digests": data.digests(config.dataset),
        },
        "save_every": config.save_every,
        "log_every": config.log_every,
        "keep": config.keep,
        "fsdp": config.fsdp,
        "allow_changed": config.allow_changed,
    }
    return Run(directory, spec, train, jax.random.key(config.seed), options)


def run(
    name: str,
    config: RunConfig,
    build: Callable,
    after_training: Callable[[Path, GenerativeModel, DatasetSpec, State], Path] | None = None,
    load_data: bool = True,
    fit_options: Callable[[Run, GenerativeModel], dict[str, Any]] | None = None,
) -> State:
    """Train, write the pictures of the last samples, and say what to type next.

    Args:
      after_training: `(directory, model, spec, state) -> path` draws another picture at the end.
      load_data: False for models that are fitted to a known density.
      fit_options: `(run, model) -> further options of training.fit`.
    """
    from experiments.shared import pictures

    begun = start(name, config, load_data)
    model = build(config, begun.spec)

    def on_sample(step: int, state: State) -> None:
        pictures.write_samples(begun.directory, model, begun.spec, state, step)

    every = config.sample_every
    state = training.fit(
        begun.key,
        model,
        begun.train,
        sample_every=every,
        on_sample=on_sample if every else None,
        **begun.fit_options,
        **(fit_options(begun, model) if fit_options else {}),
    )
    path = pictures.write_samples(begun.directory, model, begun.spec, state, config.steps)
    print(f"picture: {path}")
    training.check_same_run(begun.directory)
    if after_training is not None:
        print(f"picture: {after_training(begun.directory, model, begun.spec, state)}")
    training.write_report(begun.directory)  # once more, with the last pictures
    return state


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """A (nested) frozen configuration from JSON values. Raises ConfigError for unknown fields."""
    hints, names = get_type_hints(kind), {field.name for field in fields(kind)}
    if values.keys() - names:
        raise ConfigError(f"config has unknown fields {sorted(values.keys() - names)}")

    def restore(name: str, value: Any) -> Any:
        if is_dataclass(hints[name]):
            return from_dict(hints[name], value)
        return tuple(value) if isinstance(value, list) else value

    return kind(**{name: restore(name, value) for name, value in values.items()})


def rebuild(
    directory: str | Path,
    step: int | str | None = None,
    experiments: Mapping[str, str] = EXPERIMENTS,
) -> Saved:
    """The model and the state of a run, from its directory alone.

    Args:
      step: a saved step, "best", or None for the newest.
      experiments: those whose runs will do, name -> module.
    Raises ConfigError when there is no such run, CheckpointError when its files are damaged.
    """
    directory = Path(directory).absolute()
    path, stored = directory / "config.json", training.read_config(directory)
    try:
        name, values = str(stored["experiment"]), dict(stored["config"])
        spec, digests = DatasetSpec.from_dict(stored["data"]), dict(stored.get("digests", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if name not in experiments:
        needed = ", ".join(experiments)
        raise ConfigError(f"run {str(directory)!r} is of {name!r}, which is not among: {needed}")
    module = importlib.import_module(experiments[name])
    config = from_dict(module.Config, values)
    model = module.build(config, spec)
    state, step = training.restore_state(
        directory, abstract_state(model, spec, config.batch_size), step
    )
    return Saved(name, directory, config, spec, model, state, step, digests)


def abstract_state(model: GenerativeModel, spec: DatasetSpec, batch_size: int) -> State:
    """Shapes and dtypes of a run's state, without computing anything."""
    batch = {"x": jax.ShapeDtypeStruct((batch_size, *spec.shape), jnp.dtype(spec.dtype))}
    if spec.num_classes:
        batch["y"] = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return jax.eval_shape(model.init, jax.random.key(0), batch)
