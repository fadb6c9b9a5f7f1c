"""One process owns a sink's files; the lock goes with the process, however it ends."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO

from schemas.errors import DataDirectoryInUse
from sinks.durable import storage


def locked(path: Path) -> BinaryIO:
    """Hold the lock at `path` until the file is closed. Raises DataDirectoryInUse."""
    with storage(path):
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise DataDirectoryInUse(
                f"another process writes what lies in {path.parent}",
                hint="stop it, or use another --data",
            ) from error
        return file
