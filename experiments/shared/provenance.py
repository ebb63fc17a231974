"""Whether the data of a run, and the run that it started from, are still those of its training."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.shared.registry import Experiment, Saved, find
from gen_jax import data, training
from gen_jax.errors import ConfigError, DataError
from gen_jax.training.console import warn
from gen_jax.training.leaves import digest_of_state

INITIAL = "initial"
"""What config.json calls the digest of the state that a run starts from; `fit` has it as well where
the run trains that state further."""


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """ "train_x: old -> new" for every array that differs."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}" for name in names]


def digests_of(experiment: Experiment, config: Any, dataset: str) -> dict[str, str]:
    """`data.digests` of a dataset, and the digests of what the experiment reads besides it."""
    more = experiment.more_data(config) if experiment.more_data else {}
    return data.digests(dataset) | {name: data.digest.digest(array) for name, array in more.items()}


def _changed(saved: Saved) -> list[str]:
    """`changes` since the training, in what the run has digests of: older ones have fewer."""
    if not saved.digests:
        return []
    new = digests_of(find(saved.name), saved.config, saved.spec.name)
    of_dataset = tuple(f"{split}_" for split in data.registry.SPLITS)
    known = lambda name: name in saved.digests or name.startswith(of_dataset)
    return changes(saved.digests, {name: word for name, word in new.items() if known(name)})


def compare(saved: Saved, allowed: bool | None = None, needed: bool = True) -> list[str]:
    """What has changed in the data since the training of a run: `changes` of their digests.

    Args:
      allowed: warn of changes instead of refusing them; None where a command has no such option.
      needed: False where the data are not used: if they are missing, that is a warning.
    Raises DataError for changes, and as `data.load`.
    """
    name = saved.spec.name
    try:
        found = _changed(saved)
    except DataError as error:
        if needed:
            raise
        warn(f"the data were not compared with those of the training ({error})")
        return []
    if not saved.digests and saved.spec.kind != "points":
        warn("the run holds no digests of its data: they were not compared")
    if found and not allowed:
        ways = ["restore it", "train again"]
        ways += [] if allowed is None else ["go on with --allow-changed-data"]
        raise DataError(
            f"dataset {name!r} is not what {str(saved.directory)!r} was trained on: "
            f"{'; '.join(found)} ({', '.join(ways[:-1])} or {ways[-1]})"
        )
    if found:
        warn(f"dataset {name!r} is not what the run was trained on: {'; '.join(found)}")
    return found


def in_report(changed: Sequence[str]) -> dict[str, list[str]]:
    """What a report says of changes that were allowed."""
    return {"data_changed_since_training": [*changed]} if changed else {}


def origin(parent: Saved, directory: Path, allowed: Collection[str]) -> dict[str, Any]:
    """What the config.json of `directory` says of the run that it starts from.

    A run that resumes goes on with its own weights. Where `parent` has other ones than when it
    started, that is refused, or a warning with "initial" among `allowed`. Raises ConfigError.
    """
    new = {"run": parent.name, "step": parent.step, INITIAL: digest_of_state(parent.state)}
    steps = training.saved_steps(directory)
    old = training.read_config(directory).get("from") if steps else None
    shown = f"step {parent.step} of {parent.directory}"
    if not isinstance(old, dict) or old.get("step") != parent.step:
        print(f"from: {shown}")
        return new
    if INITIAL not in old:
        warn(f"{directory} does not say which weights it started from: they were not compared")
        del new[INITIAL]
    elif old[INITIAL] != new[INITIAL]:
        line = (
            f"from: {shown} has other weights than when {directory} started from it: it was "
            "trained anew"
        )
        if INITIAL not in allowed:
            raise ConfigError(
                f"{line} (choose another directory, or --allow-changed {INITIAL} to go on with "
                "the weights in the run itself)"
            )
        warn(f"{line}; this run goes on with the weights in itself")
        new[INITIAL] = old[INITIAL]
    print(f"from: {shown}, of which the options are read: the run resumes with its own weights")
    return new
