"""Copies a live database file while its owner goes on committing.

Why the copy is right: between two checkpoints DuckDB overwrites nothing that the file's header
refers to, because it would start from there after a kill. Commits go to the WAL, or to blocks that
are free according to the header. So a copy made while the header stays the same is the database at
its last checkpoint. The view prevents checkpoints meanwhile, and the header is compared after the
last byte: a copy during which it changed is discarded.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import BinaryIO

import duckdb
import structlog

from schemas.errors import ViewCorrupt
from sinks import notes
from sinks.duckdb import memo
from sinks.duckdb.errors import meaning
from sinks.duckdb.snapshot import wal_of
from sinks.durable import discard, forget_pages, storage, sync_directory, sync_file
from sinks.sink import Published
from streams.progress import watermark

HEADER_BYTES = 3 * 4096  # the file's own header, and two that checkpoints write in turn
# A commit may have to wait for this much: the disk takes it in 0.1 s.
PIECE_BYTES = 16 * 1024 * 1024

# From a system, or a file system, that cannot copy by itself.
_NOT_IN_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)

log_ = structlog.get_logger("sinks.duckdb")


class LiveFile:
    """The live file, opened a second time beside DuckDB, which has it locked.

    If a process closes any descriptor of a file it loses all its locks on it (POSIX). So this one
    is kept for all copies, and closed only after DuckDB has closed its own.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._turn = threading.Lock()
        self._descriptor = os.open(path, os.O_RDONLY)
        self._open = True

    def size(self) -> int:
        """In bytes."""
        return os.fstat(self._descriptor).st_size

    def header(self) -> bytes:
        """The part that changes with each checkpoint; empty once this is closed."""
        with self._turn:
            return os.pread(self._descriptor, HEADER_BYTES, 0) if self._open else b""

    def copy_piece(self, target: BinaryIO, at: int, count: int) -> int:
        """Copy at most so many bytes to the same place of `target`; 0 = no more to copy."""
        with self._turn:
            return _copied(self._descriptor, target.fileno(), at, count) if self._open else 0

    def close(self) -> None:
        """Close the file, after the piece that is being copied. Idempotent."""
        with self._turn:
            if self._open:
                self._open = False
                os.close(self._descriptor)


def _copied(source: int, target: int, at: int, count: int) -> int:
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, count, at, at)
        except OSError as error:
            if error.errno not in _NOT_IN_KERNEL:
                raise
    return os.pwrite(target, os.pread(source, count, at), at)


class FileCopy:
    """A `sinks.sink.Copying` of the checkpoint that the live file stands at when this is made.

    `cut`: the note about the cut reached then. `done` is set when `copied` has ended.
    """

    def __init__(self, live: LiveFile, target: Path, cut: str) -> None:
        self.cut = cut
        self.published = False
        self.done = threading.Event()
        self._live = live
        self._target = target
        self.size = live.size()
        self._header = live.header()
        self._stopped = False

    def stop(self) -> None:
        """Give up after the piece that is being copied."""
        self._stopped = True

    def copied(self) -> Published | None:
        """Replace the target by the copy. Raises DiskFull, StorageFailed, ViewCorrupt.

        None = it was stopped, or the file was checkpointed; the target is then as it was.
        """
        aside = self._target.with_name(f".{self._target.name}.new")
        try:
            with storage(self._target):
                discard(aside, wal_of(aside))
                self._target.parent.mkdir(parents=True, exist_ok=True)
                if not self._written(aside):
                    return None
                _check(aside, self.cut)
                # Left by somebody who opened the old file for writing; it does not belong to ours.
                discard(wal_of(self._target))
                aside.replace(self._target)
                self.published = True
                sync_directory(self._target.parent)
            serial = watermark(notes.vector_of(self.cut).cuts).serial
            return Published(self._target, self.size, serial)
        finally:
            discard(aside, wal_of(aside))
            self.done.set()

    def _written(self, aside: Path) -> bool:
        """True if `aside` is the whole file of that checkpoint, on the disk."""
        at = 0
        with aside.open("wb") as file:
            while at < self.size and not self._stopped:
                count = self._live.copy_piece(file, at, min(PIECE_BYTES, self.size - at))
                if not count:
                    break
                at += count
                # A commit meanwhile waits for unwritten data: never for more than one piece.
                sync_file(file)
                forget_pages(file)
        if at == self.size and self._live.header() == self._header:
            return True
        if not self._stopped:
            log_.warning("a snapshot was given up: the live file was written anew meanwhile")
        return False


def _check(copy: Path, cut: str) -> None:
    """Check that a reader can open it and that it stands at that cut. Raises ViewCorrupt."""
    try:
        with duckdb.connect(str(copy), read_only=True) as connection:
            [(rows,)] = connection.execute("SELECT count(log_id) FROM progress").fetchall()
            found = memo.recall(connection, memo.CUT)
    except duckdb.Error as error:
        raise meaning(error, copy) from error
    if (rows, found) != (1, cut):
        raise ViewCorrupt(f"{copy} does not stand at the cut it was made of")
