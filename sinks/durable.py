"""Writes files that survive a crash: synced, then renamed; and translates errors of the disk."""

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
    """Turn OSErrors of the block into ours: DiskFull (try again) or StorageFailed (stop)."""
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
    """Ask the system to write what lies after `start` while the file grows; only a hint.

    Linux writes pages that it is told nobody needs: it does not drop unwritten ones.
    """
    file.flush()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), start, 0, os.POSIX_FADV_DONTNEED)


def forget_pages(file: BinaryIO) -> None:
    """Free the memory in which the system caches a synced file.

    For files of gigabytes: they would displace what others need, and recently freed memory is three
    times as fast to write to as memory that the system has to reclaim.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_directory(path: Path) -> None:
    """Make renames, links and new files in the directory `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(*paths: Path) -> None:
    """Remove files that nothing refers to; one that cannot be removed now is at the next start."""
    for path in paths:
        with suppress(OSError):
            path.unlink()
