"""Writing that survives a kill or a full disk: a file is the old one or the new one, never half."""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

GUARDED: dict[Path, Callable[[Path], None]] = {}
"""Folder -> what is asked, and may raise, before a file below it is written by name."""


def sync(path: Path) -> None:
    """fsync a file or a folder (a folder's fsync makes the names in it durable)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A file to be written in place of `path`, which it replaces when the block ends well.

    Its name ends as that of `path` does. A link stays, and what it leads to is replaced. Raises
    OSError, and as GUARDED says; the old content then remains.
    """
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    for folder in Path(path).absolute().parents:
        if folder in GUARDED:
            GUARDED[folder](folder)
    temporary = target.with_name(f".{secrets.token_hex(6)}{target.suffix}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(target.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` durably and in one piece. Raises OSError; the old content then remains."""
    with replacing(path) as file:
        file.write_text(text, encoding="utf-8")
