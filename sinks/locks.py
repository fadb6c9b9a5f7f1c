"""Only one process owns a sink's files; its lock ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from schemas.errors import DataDirectoryInUse
from sinks.durable import discard, storage


def lock(path: Path) -> int:
    """Hold the lock at `path` until the descriptor is closed. Raises DataDirectoryInUse."""
    with storage(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise DataDirectoryInUse(
                f"another process writes what lies in {path.parent}",
                hint="stop it, or use another --data",
            ) from error
        return descriptor


def locked(path: Path) -> BinaryIO:
    """Take the lock; it is held until the returned file is closed."""
    return os.fdopen(lock(path), "ab")


def locked_with(path: Path, scratch: Path) -> BinaryIO:
    """As `locked`, with a folder for short-lived files; leftovers in it are removed.

    The folder belongs to the holder of the lock: nobody else may empty it.
    """
    with storage(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        held = locked(path)
        discard(*scratch.iterdir())
    return held
