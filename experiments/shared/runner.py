"""A run from its start to its pictures, and a finished run rebuilt from its directory."""

import contextlib
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared import pictures
from experiments.shared.config import RunConfig, from_dict, renamed_options
from experiments.shared.plugins import load_plugin
from experiments.shared.provenance import compare, digests_of, origin
from experiments.shared.registry import EXPERIMENTS, Experiment, Saved, find, kinds_of
from gen_jax import data, training
from gen_jax.data import DatasetSpec
from gen_jax.errors import CheckpointError, ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.training.events import add_samples
from gen_jax.training.rundir import remember
from gen_jax.types import Array, Key, State


class Run(NamedTuple):
    """A run that is about to start: its data, its key, the options of `training.fit`, its base."""

    directory: Path
    spec: DatasetSpec
    train: dict[str, np.ndarray]
    key: Key[Array, ""]
    fit_options: dict[str, Any]
    base: Saved | None = None


def default_directory(name: str, dataset: str, seed: int = 0) -> str:
    """Where a run is kept when nothing is said; each seed but 0 has a directory of its own."""
    slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in dataset)
    return f"runs/{name}-{slug}" + (f"-seed{seed}" if seed else "")


def start(
    experiment: Experiment, config: RunConfig, load_data: bool = True, given: Any = None
) -> Run:
    """Check the options, prepare jax, load the data: those `given`, or zeros if not needed."""
    config.check()
    network = getattr(config, "network", None)
    # Sharding pays for convolutions only, which jax 0.10 runs on one core each.
    many = None if network is not None and network.name == "unet" else 1
    training.configure_backend(config.cpu_devices or many)
    spec = data.describe(config.dataset)
    if spec.kind == "text" and "text" not in kinds_of(experiment.name):
        those = ", ".join(name for name in EXPERIMENTS if "text" in kinds_of(name))
        raise ConfigError(f"dataset={config.dataset!r} is text, which is for: {those}")
    if given is not None:
        train = given
    elif load_data:
        train = data.load(config.dataset, "train")
    else:
        train = {"x": np.zeros((config.batch_size, *spec.shape), np.float32)}
    data.check_batchable(train, config.batch_size, spec.num_classes or None)
    directory = Path(
        config.directory or default_directory(experiment.name, config.dataset, config.seed)
    ).absolute()
    options: dict[str, Any] = {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "directory": directory,
        "config": {
            "experiment": experiment.name,
            "config": asdict(config),
            "data": spec.to_dict(),
            "digests": digests_of(experiment, config, config.dataset),
        },
        "save_every": config.save_every,
        "log_every": config.log_every,
        "keep": config.keep,
        "fsdp": config.fsdp,
        "allow_changed": config.allow_changed,
        "renamed": renamed_options(type(config), "config."),
    }
    parent = parent_of(experiment, config)
    if parent is not None:
        options["config"]["from"] = origin(parent, directory, config.allow_changed)
    if experiment.bases_for(config) and parent is not None:
        compare(parent)
        stored = training.read_config(parent.directory)
        training.check_same_run(parent.directory)
        kept = ("experiment", "config", "data", "digests", "from")
        options["config"]["from"]["base"] = {k: stored[k] for k in kept if k in stored}
        return Run(directory, spec, train, jax.random.key(config.seed), options, parent)
    if parent is not None:
        check_same_meaning(experiment.name, config, parent)
        options["initial"] = parent.state
    return Run(directory, spec, train, jax.random.key(config.seed), options)


def check_same_meaning(name: str, config: RunConfig, parent: Saved) -> None:
    """Raise ConfigError for a parent whose network saw the time, or predicted, in another way."""
    shown = {"prediction": {"flow_matching": "velocity"}, "noise_input": {}}
    for option, fixed in shown.items():
        own = getattr(config, option, fixed.get(name))
        theirs = getattr(parent.config, option, fixed.get(parent.name))
        if own is not None and theirs is not None and own != theirs:
            raise ConfigError(
                f"from={config.initial_run!r} was trained with {option}={theirs!r}, and this run "
                f"has {option}={own!r}: its parameters mean something else there"
            )


def parent_of(experiment: Experiment, config: RunConfig) -> Saved | None:
    """The run that this one starts from. Raises ConfigError where it needs one and has none."""
    bases = experiment.bases_for(config)
    if config.initial_run is not None:
        return rebuild(config.initial_run, experiments=bases or EXPERIMENTS)
    if bases:
        needed = " or ".join(bases)
        raise ConfigError(f"from=None must be the directory of a run of {needed}")
    return None


def run(
    experiment: Experiment,
    config: RunConfig,
    after_training: Callable[[Path, GenerativeModel, DatasetSpec, State], Path] | None = None,
    load_data: bool = True,
    fit_options: Callable[[Run, GenerativeModel], dict[str, Any]] | None = None,
    train: dict[str, np.ndarray] | None = None,
) -> State:
    """Train, write the pictures of the last samples, and say what to type next.

    Args:
      after_training: `(directory, model, spec, state) -> path` draws another picture at the end.
      load_data: False for models that are fitted to a known density.
      train: what is trained on in place of the dataset.
      fit_options: `(run, model) -> further options of training.fit`.
    """
    begun = start(experiment, config, load_data, train)
    model = experiment.build(config, begun.spec, *([begun.base] if begun.base else []))

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
    with contextlib.suppress(OSError):
        add_samples(begun.directory, config.steps)
    place = shown_path(begun.directory)
    print(f"next: python -m experiments.sample {place}")
    print(f"      python -m experiments.evaluate {place}")
    return state


def shown_path(directory: Path) -> str:
    """As it is typed from here: relative where it is below the working folder."""
    here = Path.cwd()
    return shlex.quote(
        str(directory.relative_to(here) if directory.is_relative_to(here) else directory)
    )


def rebuild(
    directory: str | Path,
    step: int | str | None = None,
    experiments: Collection[str] = EXPERIMENTS,
) -> Saved:
    """The model and the state of a run, from its directory alone.

    Args:
      step: a saved step, "best", or None for the newest.
      experiments: names of those whose runs will do.
    Raises ConfigError when there is no such run, CheckpointError when its files are damaged.
    """
    directory = Path(directory).absolute()
    stored = training.read_config(directory)
    remember(directory, stored)
    found = untrained(directory, stored, experiments)
    state, step = training.restore_state(directory, found.state, step)
    training.check_same_run(directory)  # the state is that of this configuration
    return found._replace(state=state, step=step)


def untrained(
    directory: Path, stored: Mapping[str, Any], experiments: Collection[str] = EXPERIMENTS
) -> Saved:
    """What a run's config.json says, with the shapes of its state in place of the state.

    Raises ConfigError for a run of another experiment or of `training.fit` alone, CheckpointError
    for what cannot be read.
    """
    if "fit" in stored and "experiment" not in stored:
        raise ConfigError(
            f"run {str(directory)!r} is of training.fit and not of an experiment; load it with "
            "training.restore_state, as docs/guides/save_load_measure.md shows"
        )
    try:
        name, values = str(stored["experiment"]), dict(stored["config"])
        spec, digests = DatasetSpec.from_dict(stored["data"]), dict(stored.get("digests", {}))
        below = dict(stored.get("from", {})).get("base")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        path = directory / "config.json"
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if name not in experiments:
        those = ", ".join(experiments)
        raise ConfigError(f"run {str(directory)!r} is of {name!r}, which is not among: {those}")
    experiment = find(name)
    config = from_dict(experiment.config, values)
    load_plugin(config.plugin)
    needed, bases = experiment.bases_for(config), []
    if needed:
        bases = [with_zeros(untrained(directory, {} if below is None else below, needed))]
    model = experiment.build(config, spec, *bases)
    state = abstract_state(model, spec, config.batch_size)
    return Saved(name, directory, config, spec, model, state, 0, digests)


def with_zeros(saved: Saved) -> Saved:
    """An `untrained` run with zeros as its state: a base whose arrays a checkpoint will give."""
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), saved.state)
    return saved._replace(state=zeros)


def abstract_state(model: GenerativeModel, spec: DatasetSpec, batch_size: int) -> State:
    """Shapes and dtypes of a run's state, without computing anything."""
    batch = {"x": jax.ShapeDtypeStruct((batch_size, *spec.shape), jnp.dtype(spec.dtype))}
    if spec.num_classes:
        batch["y"] = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    if spec.sentences is not None:
        tokens = (batch_size, spec.sentences.length)
        batch["caption"] = jax.ShapeDtypeStruct(tokens, jnp.int32)
    return jax.eval_shape(model.init, jax.random.key(0), batch)
