"""Which runs a command line of the sweep asks for."""

import itertools
import re
import shlex
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.shared.registry import EXPERIMENTS
from gen_jax.errors import ConfigError, check_choice

OWN = ("folder", "evaluation")


class Plan(NamedTuple):
    """What to run: directory -> the words of its command."""

    experiment: str
    folder: Path
    evaluation: list[str]
    runs: dict[Path, list[str]]


def parse(words: Sequence[str]) -> Plan:
    """The plan of a command line. Raises ConfigError for what is none."""
    if not words or words[0].startswith("--"):
        raise ConfigError("experiment is missing: `python -m experiments.sweep NAME --option ...`")
    experiment = words[0]
    options = _options(words[1:])
    check_choice("experiment", experiment, EXPERIMENTS)
    own = {name: options.pop(name, [""]) for name in OWN}
    if "directory" in options:
        raise ConfigError("directory is chosen by the sweep, inside --folder")
    for name, values in {**options, **own}.items():
        if not values or (name in OWN and len(values) > 1):
            raise ConfigError(f"--{name} must have {'one value' if name in OWN else 'a value'}")
    folder = Path(own["folder"][0] or f"runs/sweep-{experiment}")
    runs: dict[Path, list[str]] = {}
    for combination in itertools.product(*options.values()):
        chosen = dict(zip(options, combination))
        words = [
            part for name, value in chosen.items() for part in (f"--{name}", *shlex.split(value))
        ]
        directory = folder / _slug(chosen)
        if runs.setdefault(directory, words) != words:
            raise ConfigError(f"{chosen} and {runs[directory]} would both be kept in {directory}")
    return Plan(experiment, folder, shlex.split(own["evaluation"][0]), runs)


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    """Option -> its values; a quoted word that holds a space is a value in any case."""
    options: dict[str, list[str]] = {}
    for word in words:
        option = re.fullmatch(r"--([\w.-]+)(?:=(.*))?", word)
        if option:
            name, value = option.groups()
            if name in options:
                raise ConfigError(f"--{name} is given twice: put all its values after one")
            options[name] = [value] if value else []
        elif options:
            options[[*options][-1]].append(word)
        else:
            raise ConfigError(f"{word!r} belongs to no option")
    return options


def _slug(chosen: Mapping[str, str]) -> str:
    """Of all options that are given, so that another choice is another directory."""
    text = ",".join(f"{name}={value}" for name, value in chosen.items()) or "run"
    slug = "".join(c if c.isalnum() or c in "._=-," else "_" for c in text)
    # A blank is an underscore, as ever; what else is replaced could be another choice's name.
    same = slug == text.replace(" ", "_") and len(slug) < 150
    return slug if same else f"{slug[:140]}-{zlib.crc32(text.encode()):08x}"
