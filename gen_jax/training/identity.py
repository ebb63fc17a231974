"""Which run a directory holds: config.json, sealed by its own SHA-256 and a random identity.

    {..., "run_identity": ID, "earlier": [DIGEST, ...], "sha256": DIGEST}

The identity is made when the run starts. Each manifest carries it, and the digest that config.json
had when the step was saved: the present one, or one of `earlier`, which a change that resuming
allows (more steps) leaves behind. So a changed digit, another run's config.json and another run's
step are all noticed, and older steps remain readable.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gen_jax.checks import check_path, no_type_check
from gen_jax.errors import CheckpointError, ConfigError
from gen_jax.training.console import warn
from gen_jax.training.files import read_json

CONFIG = "config.json"
RUN, EARLIER, DIGEST = "run_identity", "earlier", "sha256"
UNSEALED = "unsealed"
"""In `earlier`: steps saved before runs had identities belong to this run."""


def digest_of(value: Any) -> str:
    """The SHA-256 of a JSON value, whatever the order of its names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


_SAID: set[Path] = set()
"""Older files that a warning was given for."""


class Identity(NamedTuple):
    """What the manifests of a run carry: its identity, and one of the digests of its config.json.

    `run` is None for a directory that has no sealed config.json.
    """

    run: str | None
    configs: tuple[str, ...]

    def check(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Raise ForeignStep or WrongConfig when a step does not belong to this run."""
        run, config = manifest.get("run"), manifest.get("config")
        if self.run is None:
            if run is not None:
                raise WrongConfig(
                    f"{folder} is of run {run}, but {CONFIG} is missing or names no run"
                )
            return
        if run is None and UNSEALED in self.configs:
            return
        if run != self.run:
            raise ForeignStep(f"{folder} is a step of another run ({run}, not {self.run})")
        if config not in self.configs:
            raise WrongConfig(
                f"{folder} was saved under another {CONFIG} of this run than the one that is there"
            )


class ForeignStep(CheckpointError):
    """A step that was copied in from another run."""


class WrongConfig(CheckpointError):
    """A config.json that is not, or not yet, the one of the run's steps."""


def sealed(config: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    """`config` with the identity of `old`, the config.json that it replaces, or a new one."""
    if old is None:
        run, earlier = secrets.token_hex(8), []
    elif RUN in old:
        run = old[RUN]
        earlier = list(dict.fromkeys([old[DIGEST], *old[EARLIER]]))
    else:
        run, earlier = secrets.token_hex(8), [UNSEALED]
    content = {**config, RUN: run, EARLIER: earlier}
    return {**content, DIGEST: digest_of(content)}


def body(config: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration without its seal."""
    return {name: value for name, value in config.items() if name not in (RUN, EARLIER, DIGEST)}


def identity_of(config: dict[str, Any]) -> Identity:
    """The identity in a stored configuration."""
    if RUN not in config:
        return Identity(None, ())
    return Identity(config[RUN], (config[DIGEST], *config[EARLIER]))


def of_another_run(found: Any, config: Any) -> str | None:
    """The run that numbers beside config.json name, unless config.json names it too."""
    named = lambda values: values.get(RUN) if isinstance(values, Mapping) else None
    return named(found) if named(found) != named(config) else None


def has_checkpoints(directory: Path) -> bool:
    """Whether there is a step, or what is left of one that was set aside as damaged."""
    folder = directory / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return any(name[:1] in "0123456789" for name in names)


@no_type_check
def read_config(directory: str | Path, shown: Path | None = None) -> dict[str, Any]:
    """The configuration stored in a run directory, with its seal.

    Args:
      shown: the name of the directory in messages, if it is another one.
    Raises ConfigError when there is no run, CheckpointError when config.json is missing beside
    checkpoints, damaged or changed. One written before runs had seals is a warning.
    """
    directory = check_path("directory", directory)
    shown = shown or directory
    try:
        config = read_json(directory / CONFIG)
    except FileNotFoundError:
        if has_checkpoints(directory):
            raise CheckpointError(
                f"{shown} holds checkpoints, but its {CONFIG} is missing: put it back, or choose "
                "another directory"
            ) from None
        raise ConfigError(
            f"run directory {str(shown)!r} holds no run ({CONFIG} is missing)"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{shown / CONFIG} is damaged: {getattr(error, 'strerror', None) or error}"
        ) from error
    _check_sealed(shown / CONFIG, config)
    return config


def _check_sealed(path: Path, config: Any) -> None:
    if not isinstance(config, dict) or not config:
        text = json.dumps(config)[:40]
        raise CheckpointError(f"{path} is damaged: it holds {text}, no configuration")
    seal = [name for name in (RUN, EARLIER, DIGEST) if name in config]
    if not seal and isinstance(config.get("fit"), dict):
        if path not in _SAID:
            warn(f"{path} was written before runs had identities: what it says is not verified")
        _SAID.add(path)
        return
    content = {name: value for name, value in config.items() if name != DIGEST}
    if len(seal) < 3 or config[DIGEST] != digest_of(content):
        raise CheckpointError(
            f"{path} is damaged: it is not what the run wrote (SHA-256 differs); "
            "put back the one that was"
        )
