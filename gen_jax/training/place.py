"""A run directory is held, not named: it may be moved, and another may get its name, while it is
open."""

import fcntl
import hashlib
import os
import stat
from pathlib import Path

from gen_jax.errors import CheckpointError
from gen_jax.training import sharding
from gen_jax.training.identity import CONFIG

LOCK, CHECKPOINTS = ".lock", "checkpoints"


class Place:
    """A directory that is open and locked.

    Fields:
      path: its name when it was opened; for messages.
      held: what to write through: on Linux the open directory itself, wherever it is moved; where
        that is not possible, and among several processes, `path`.
    """

    def __init__(self, path: Path):
        """Open and lock. Raises OSError, and CheckpointError when another process has the lock."""
        self.path = path
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o666, dir_fd=self._folder)
        except OSError:
            os.close(self._folder)
            raise
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.stat(LOCK, dir_fd=self._folder), os.fstat(self._lock)):
                raise FileNotFoundError(LOCK)  # removed, and made by another run, meanwhile
        except OSError as error:
            self.close()
            raise CheckpointError(f"{path} is in use by another run") from error
        self.held = path
        self._checkpoints: os.stat_result | None = None
        self._config: tuple[tuple[int, ...], str] | None = None
        link = Path(f"/proc/self/fd/{self._folder}")
        if sharding.is_alone() and self._is_this(link):
            self.held = link

    @property
    def follows(self) -> bool:
        """Whether `held` stays right when the directory is moved."""
        return self.held != self.path

    def _is_this(self, path: Path) -> bool:
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._folder))
        except OSError:
            return False

    def _has_lock(self) -> bool:
        """Whether the lock in the directory is the one that is held; made again if removed."""
        try:
            return os.path.samestat(os.stat(LOCK, dir_fd=self._folder), os.fstat(self._lock))
        except FileNotFoundError:
            return self._lock_again()

    def _lock_again(self) -> bool:
        try:
            lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=self._folder)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        os.close(self._lock)
        self._lock = lock
        return True

    def watch(self) -> None:
        """From now on the folder of checkpoints and config.json have to stay what they are."""
        self._checkpoints = os.stat(CHECKPOINTS, dir_fd=self._folder)
        self._config = self._config_now(), self._config_digest()

    def _config_now(self) -> tuple[int, ...]:
        """What changes when config.json does; empty where it is no file."""
        now = os.stat(CONFIG, dir_fd=self._folder)
        times = now.st_mtime_ns, now.st_ctime_ns
        return (now.st_dev, now.st_ino, now.st_size, *times) if stat.S_ISREG(now.st_mode) else ()

    def _config_digest(self) -> str:
        opener = lambda path, flags: os.open(path, flags, dir_fd=self._folder)
        with open(CONFIG, "rb", opener=opener) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def has_config(self) -> bool:
        """Whether config.json is that of the run; it is read only where its times have changed."""
        if self._config is None:
            return True
        try:
            now = self._config_now()
            if now != self._config[0]:
                if not now or self._config_digest() != self._config[1]:
                    return False
                self._config = now, self._config[1]
        except FileNotFoundError:
            return False
        except OSError:
            pass  # a file system that does not answer now has not replaced anything
        return True

    def _has_checkpoints(self) -> bool:
        """Whether the folder of checkpoints is that of the run: no other, and no link to one."""
        if self._checkpoints is None:
            return True
        try:
            return os.path.samestat(os.stat(CHECKPOINTS, dir_fd=self._folder), self._checkpoints)
        except OSError:
            return True  # none at all: no save succeeds, and that is said

    def _is_whole(self) -> bool:
        return self._has_lock() and self._has_checkpoints()

    def in_place(self) -> bool:
        """Whether `path` still names this directory, and no other run has a part of it."""
        try:
            there = os.stat(self.path)
            return os.path.samestat(there, os.fstat(self._folder)) and self._is_whole()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # a file system that does not answer now has not moved anything

    def is_ours(self) -> bool:
        """Whether what is written through `held` goes to the directory that is locked."""
        return self._is_whole() if self.follows else self.in_place()

    def found(self) -> Path | None:
        """Where the directory is now, if it can be written there; None if not."""
        try:
            path = Path(os.readlink(f"/proc/self/fd/{self._folder}"))
            return path if self.follows and self._is_this(path) and self._is_whole() else None
        except OSError:
            return None

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)
        os.close(self._folder)
