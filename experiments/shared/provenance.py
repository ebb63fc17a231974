"""Whether the data of a run are still those of its training."""

from collections.abc import Mapping, Sequence

from experiments.shared.registry import Saved
from gen_jax import data
from gen_jax.errors import DataError
from gen_jax.training.console import warn


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """ "train_x: old -> new" for every array that differs."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}" for name in names]


def compare(saved: Saved, allowed: bool = False, needed: bool = True) -> list[str]:
    """What has changed in the data since the training of a run: `changes` of their digests.

    Args:
      allowed: warn of changes instead of refusing them.
      needed: False where the data are not used: if they are missing, that is a warning.
    Raises DataError for changes, and as `data.load`.
    """
    name = saved.spec.name
    try:
        found = changes(saved.digests, data.digests(name)) if saved.digests else []
    except DataError as error:
        if needed:
            raise
        warn(f"the data were not compared with those of the training ({error})")
        return []
    if not saved.digests and saved.spec.kind != "points":
        warn("the run holds no digests of its data: they were not compared")
    if found and not allowed:
        raise DataError(
            f"dataset {name!r} is not what {str(saved.directory)!r} was trained on: "
            f"{'; '.join(found)} (restore it, train again, or go on with --allow-changed-data)"
        )
    if found:
        warn(f"dataset {name!r} is not what the run was trained on: {'; '.join(found)}")
    return found


def in_report(changed: Sequence[str]) -> dict[str, list[str]]:
    """What a report says of changes that were allowed."""
    return {"data_changed_since_training": [*changed]} if changed else {}
