"""Files that outlive a crash: synced, then renamed; and what a refusing disk means."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from schemas.errors import DiskFull, StorageFailed

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (
    "mount that disk writable, or copy the data directory elsewhere and give that as --data"
)


@contextmanager
def storage(what: Path) -> Iterator[None]:
    """Turn what the disk refuses into our errors: DiskFull (try again) or StorageFailed (stop)."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _NO_SPACE:
            message = f"no space left for {what}: {reason}"
            raise DiskFull(message, hint=f"make room on the disk of {what}") from error
        hint = _READ_ONLY if error.errno == errno.EROFS else ""
        raise StorageFailed(f"{what} cannot be written or read: {reason}", hint=hint) from error


def write_synced(path: Path, content: bytes) -> None:
    """Write a whole file and wait until it is on the disk. The directory is not synced."""
    with path.open("wb") as file:
        file.write(content)
        sync_file(file)


def sync_file(file: BinaryIO) -> None:
    """Wait until everything written to `file` is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def begin_sync(file: BinaryIO, start: int) -> None:
    """Have the system write what lies behind `start` while the file grows; nothing is promised.

    Linux does when it is told that nobody needs these pages: it drops none that is not written yet.
    """
    file.flush()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), start, 0, os.POSIX_FADV_DONTNEED)


def forget_pages(file: BinaryIO) -> None:
    """Let the system have the memory that it keeps of a synced file for whoever reads it next.

    For one of gigabytes: it would push out what others need, and memory that was in use just now
    is written to three times as fast as such that the system has to find.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_directory(path: Path) -> None:
    """Make renames, links and new names in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(*paths: Path) -> None:
    """Remove files that nothing refers to any more; one that stays is removed at the next start."""
    for path in paths:
        with suppress(OSError):
            path.unlink()
