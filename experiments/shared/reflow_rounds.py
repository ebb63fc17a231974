"""The runs of a reflow: each trained on the pairs that the one before it draws."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.shared import pair_files, pictures
from experiments.shared.registry import Saved, find
from experiments.shared.runner import rebuild, run
from gen_jax.errors import ConfigError
from gen_jax.flow_matching import paired_data


def check_flow(first: Saved) -> None:
    """Raise ConfigError for a run whose parameters are not those of a velocity on a straight path:
    a round starts from them, where they would mean something else."""
    prediction = getattr(first.config, "prediction", "velocity")
    if getattr(first.config, "loss", None) == "hybrid":
        raise ConfigError(f"run {str(first.directory)!r} learned variances, which no round has")
    if (prediction, first.config.path) != ("velocity", "linear"):
        raise ConfigError(
            f"run {str(first.directory)!r} predicts {prediction!r} on path={first.config.path!r}, "
            "and rounds start from a velocity on the linear path: give a run of flow_matching, or "
            "of diffusion with --prediction velocity --path linear"
        )


def next_config(config: Any, first: Saved, last: Saved, directory: Path, distilled: bool) -> Any:
    """Options of a round: those of the first run where both have them, the parameters of the last
    one, and the pairs."""
    kind: Any = find("flow_matching").config
    shared = ("dataset", "batch_size", "learning_rate", "ema_decay", "label_dropout", "network")
    given = {name: getattr(first.config, name) for name in shared}
    return kind(
        **given,
        steps=config.steps or first.config.steps,
        seed=config.seed,
        directory=str(directory),
        noise_input=first.config.noise_input,
        initial_run=str(last.directory),
        pairs=True,
        distilled=distilled,
    )


def trained(config: Any, first: Saved, last: Saved, name: str, index: int) -> Saved:
    """The run of a round; its pairs are drawn unless they are there."""
    directory = first.directory.with_name(f"{first.directory.name}-{name}")
    file = directory / pair_files.NAME
    asked = pair_files.origin(last, seed=config.seed, pairs=config.pairs, steps=config.pair_steps)
    if not file.is_file():
        key = jax.random.fold_in(jax.random.key(config.seed), index)
        given = pictures.balanced(last.model, last.spec, config.pairs)
        pairs = paired_data(
            key, last.model, last.state, given, config.pairs, num_steps=config.pair_steps
        )
        keys = {"label": "y"}  # of batches
        pairs |= {keys.get(name, name): np.asarray(value) for name, value in given.items()}
        directory.mkdir(parents=True, exist_ok=True)
        pair_files.write_pairs(file, pairs, asked)
    train = pair_files.read_pairs(file, asked)
    options = next_config(config, first, last, directory, name == "distilled")
    run(find("flow_matching"), options, train=train)
    return rebuild(directory)
