"""The manifest of a checkpoint: which step of which run it is, the SHA-256 of every file, its own.

Beside it, once `evaluate` has been called, its numbers, sealed in the same way.
"""

import hashlib
from pathlib import Path
from typing import Any

from gen_jax.errors import CheckpointError
from gen_jax.training.files import plain, read_json, write_json
from gen_jax.training.identity import DIGEST, Identity, digest_of

MANIFEST, NUMBERS = "manifest.json", "numbers.json"


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)


def _write_sealed(path: Path, content: dict[str, Any]) -> None:
    content = plain(content)
    write_json(path, {**content, DIGEST: digest_of(content)})


def _read_sealed(folder: Path, name: str, identity: Identity | None) -> dict[str, Any]:
    """A file of one step that is whole, of this step and, if an identity is given, of this run."""
    try:
        content = read_json(folder / name)
        sha256 = content.pop(DIGEST)
        step = content["step"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = type(error).__name__
        raise CheckpointError(f"{folder}: {name} missing or damaged ({reason})") from error
    if sha256 != digest_of(content):
        raise CheckpointError(f"{folder}: {name} is damaged (SHA-256 differs)")
    if str(step) != folder.name:
        raise CheckpointError(f"{folder}: {name} is that of step {step}")
    if identity is not None:
        identity.check(folder, content)
    return content


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write `content` (JSON types) and the digests of all files of the folder. Raises OSError."""
    names = {str(path.relative_to(folder)): _hash(path) for path in _files(folder)}
    _write_sealed(folder / MANIFEST, {**content, "files": names})


def read_manifest(folder: Path, identity: Identity | None = None) -> dict[str, Any]:
    """The manifest of one step.

    Raises CheckpointError when it is missing, damaged, that of another step or of another run
    (if an identity is given).
    """
    return _read_sealed(folder, MANIFEST, identity)


def verify(folder: Path, identity: Identity | None = None) -> dict[str, Any]:
    """The manifest, after every file it names has been read and found unchanged."""
    manifest = read_manifest(folder, identity)
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{folder}: file {name} is missing")
        if _hash(path) != digest:
            raise CheckpointError(f"{folder}: file {name} is damaged (SHA-256 differs)")
    return manifest


def write_numbers(folder: Path, content: dict[str, Any]) -> None:
    """Write the numbers of `evaluate` beside the manifest. Raises OSError."""
    _write_sealed(folder / NUMBERS, content)


def read_numbers(folder: Path, identity: Identity | None = None) -> dict[str, Any] | None:
    """The numbers of `evaluate`; None when there are none. Raises CheckpointError as above."""
    if not (folder / NUMBERS).exists():
        return None
    return _read_sealed(folder, NUMBERS, identity)
