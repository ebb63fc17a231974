"""What is kept of a run: how it was made, what it cost, what was measured, and a picture."""

import io
import shlex
from pathlib import Path
from typing import Any

from PIL import Image

from gen_jax import training
from gen_jax.errors import CheckpointError, ConfigError
from gen_jax.training.console import warn
from gen_jax.training.files import read_json
from gen_jax.training.identity import RUN, of_another_run
from gen_jax.types import Estimate

MAX_PICTURE = 60_000
"""Bytes of a picture that is kept in the repository."""

EVALUATION = "evaluation.json"
COSTS = ("steps_here", "wall_seconds", "cpu_seconds", "load_average")


def _json(path: Path) -> dict[str, Any]:
    """The mapping in a file of a run; empty where there is none."""
    try:
        found = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is damaged: it holds a {type(found).__name__}")
    return found


def evaluation_of(directory: Path, stored: dict[str, Any]) -> dict[str, Any]:
    """What `evaluate` measured of the run; a warning where it is not of the newest step.

    Raises CheckpointError for the numbers of another run.
    """
    found = _json(directory / EVALUATION)
    whose = of_another_run(found, stored)
    found.pop(RUN, None)
    if whose is not None:
        raise CheckpointError(f"{directory / EVALUATION} is that of another run ({whose})")
    newest, step = max(training.saved_steps(directory), default=None), found.get("step")
    if step is not None and newest is not None and step != newest:
        warn(f"{directory / EVALUATION} is of step {step}, the newest of the run is {newest}")
    return found


def command_of(experiment: str, words: list[str]) -> str:
    """The command line of a run, without where it was kept."""
    kept, skip = [], False
    for word in words[1:]:
        if not (skip or word.startswith("--directory")):
            kept.append(word)
        skip = word == "--directory"
    return shlex.join(["python", "-m", f"experiments.{experiment}", *kept])


def of_run(directory: str | Path) -> dict[str, Any]:
    """All of a run's own files that a record keeps.

    Raises ConfigError when there is no such run, CheckpointError when a file of it is damaged.
    """
    directory = Path(directory)
    stored = training.read_config(directory)
    environment, report = (_json(directory / f"{n}.json") for n in ("environment", "report"))
    devices = environment.get("devices", [])
    return {
        "experiment": stored.get("experiment"),
        "command": command_of(str(stored.get("experiment")), environment.get("command", [])),
        "config": {k: v for k, v in stored.get("config", {}).items() if k != "directory"},
        "seed": stored.get("config", {}).get("seed"),
        "dataset": stored.get("config", {}).get("dataset"),
        "digests": stored.get("digests", {}),
        "commit": environment.get("commit"),
        "python": environment.get("python"),
        "packages": environment.get("packages", {}),
        "device": f"{len(devices)} x {devices[0]}" if devices else None,
        **{name: report.get(name) for name in COSTS},
        "evaluation": evaluation_of(directory, stored),
    }


def last_picture(directory: str | Path) -> Path | None:
    """The picture of the last samples."""
    return max((Path(directory) / "samples").glob("step_*.png"), default=None)


def small_png(path: Path, most: int = MAX_PICTURE) -> bytes:
    """The picture as PNG of at most `most` bytes: in 64 colours, then halved until it fits."""
    data = path.read_bytes()
    image = Image.open(path).convert("RGB")
    while len(data) > most:
        buffer = io.BytesIO()
        image.quantize(64).save(buffer, "png", optimize=True)
        data = buffer.getvalue()
        if min(image.size) < 16:
            raise ConfigError(f"picture {str(path)!r} cannot be made as small as {most} bytes")
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    return data


def with_error(value: float, error: float) -> str:
    """`0.45 ± 0.26`; an error of 0 or that is not finite is left out."""
    return str(Estimate(value, error)).replace("+-", "±")


def shown(value: Any) -> str:
    """A number of four digits, an estimate to the second digit of its error, or anything else."""
    if isinstance(value, dict) and list(value) == ["value", "standard_error"]:
        value, error = value["value"], value["standard_error"]
        return with_error(value, error) if value is not None and error else shown(value)
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
