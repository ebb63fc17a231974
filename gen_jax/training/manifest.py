"""The manifest of a checkpoint: the SHA-256 of every file in its folder, and of itself."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.errors import CheckpointError
from gen_jax.training.files import write_json

MANIFEST = "manifest.json"


def digest(array: np.ndarray) -> str:
    """Dtype, shape and the SHA-256 of an array's content, in one word."""
    shape = "x".join(map(str, array.shape))
    content = hashlib.sha256(array.tobytes()).hexdigest()[:16]
    return f"{array.dtype}[{shape}]-{content}"


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write `content` (JSON types) and the digests of all files of the folder. Raises OSError."""
    names = {str(path.relative_to(folder)): _hash(path) for path in _files(folder)}
    manifest = {**content, "files": names}
    write_json(folder / MANIFEST, {**manifest, "sha256": _digest(manifest)})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of one step. Raises CheckpointError when it is missing or damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        digest = manifest.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = type(error).__name__
        raise CheckpointError(f"{folder}: {MANIFEST} missing or damaged ({reason})") from error
    if digest != _digest(manifest):
        raise CheckpointError(f"{folder}: {MANIFEST} is damaged (SHA-256 differs)")
    return manifest


def verify(folder: Path) -> dict[str, Any]:
    """The manifest, after every file it names has been read and found unchanged."""
    manifest = read_manifest(folder)
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{folder}: file {name} is missing")
        if _hash(path) != digest:
            raise CheckpointError(f"{folder}: file {name} is damaged (SHA-256 differs)")
    return manifest
