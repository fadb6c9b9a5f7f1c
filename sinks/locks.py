"""One process owns a sink's files; the lock goes with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from schemas.errors import DataDirectoryInUse
from sinks.durable import storage


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
    """The same, until the file is closed."""
    return os.fdopen(lock(path), "ab")
