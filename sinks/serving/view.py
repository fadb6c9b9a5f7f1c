"""The serving view: what the HTTP service answers from, in a SQLite file that it alone writes.

Rows and positions are written in one transaction; records below the stored positions are skipped,
so that applying twice is applying once. Publishing writes nothing: readers hold a read transaction
of the cut published last, and begin a new one when told, while nothing is written
(`sinks.serving.reader`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec
import structlog

from schemas.codec import decode, encode
from schemas.errors import LogCorrupt, ViewCorrupt
from schemas.records import Config, Cut, Head
from schemas.topics import COMPACTED, Topic
from sinks import notes
from sinks.durable import storage
from sinks.locks import locked
from sinks.removed import HASHES
from sinks.serving.errors import view_errors
from sinks.serving.gone import GoneFiles
from sinks.serving.schema import (
    WAL_BYTES_KEPT,
    WRITER_CACHE_KIB,
    connect,
    create_tables,
    is_empty,
    is_ours,
)
from sinks.serving.writer import Counts, ServingWriter
from sinks.sink import Batch, Published, Reached, Standing, Vector, positions_of
from streams.log import TopicPartition
from streams.progress import watermark

SERVING_FILE, LOCK_FILE = "serving.sqlite", "serving.lock"
STANDING, COUNTS, CUT, KEPT = "standing", "counts", "cut", "keep_removed"

T = TypeVar("T")
log_ = structlog.get_logger("sinks.serving")


class _OtherVersion(ViewCorrupt):
    """The file is from another version; it is not damaged and need not be kept."""


class CutNote(msgspec.Struct, frozen=True):
    """The cut at which the file stands exactly, and what was known then."""

    log_id: str
    cuts: tuple[Cut | None, ...]
    config: Config
    head: Head | None
    as_of_ms: int

    @property
    def vector(self) -> Vector:
        """The identity of what is there."""
        return Vector(self.log_id, self.cuts)


class ServingView:
    """See `sinks.sink.Sink`. `state` is the directory of its files.

    `rest` is called, in the sink's thread, when the WAL has grown and readers must end their
    transactions for a moment; it returns when they have. `keep_removed`: one of KEEP_REMOVED.
    """

    name = "serving"
    topics = (*COMPACTED, Topic.CHANGELOG)

    def __init__(
        self,
        state: Path,
        rest: Callable[[], None] = lambda: None,
        keep_removed: str = HASHES,
    ) -> None:
        self.path = state / SERVING_FILE
        self._rest = rest
        self._keep = keep_removed
        self._lock: BinaryIO | None = None
        self._connection: sqlite3.Connection | None = None
        self._writer: ServingWriter | None = None
        self._standing = Standing("", {})
        self._published: Vector | None = None
        self._damaged = ""

    def suspect(self, why: str) -> None:
        """A reader has found damage: the next call raises ViewCorrupt. From any thread."""
        self._damaged = why

    def standing(self) -> Standing:
        """Where it stands."""
        self._run(lambda _: None)
        return self._standing

    def apply(self, batch: Batch) -> None:
        """Take a batch in."""
        self._run(lambda connection: self._apply(connection, batch))

    def reached(self, at: Reached) -> None:
        """Store the cut."""
        self._run(lambda connection: self._reached(connection, at))

    def publish(self, now_ms: int) -> Published:  # noqa: ARG002  (the port's)
        """Let readers see the cut reached last; checkpoint the WAL if it has grown too much."""
        note = self._run(_cut_of)
        assert note is not None, "published between two cuts"
        with storage(self.path):
            if _wal(self.path).exists() and _wal(self.path).stat().st_size > WAL_BYTES_KEPT:
                self._rest()
                self._run(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
            size = self.path.stat().st_size
        self._published = note.vector
        return Published(self.path, size, watermark(note.cuts).serial)

    def published(self) -> Vector | None:
        """The cut that this process has published, with which a reader begins."""
        return self._published

    def reset(self) -> None:
        """Begin with an empty file; a damaged one is kept beside it (one, as evidence).

        Readers keep the old file until the next publication.
        """
        self._close_file()
        self._own()
        with storage(self.path):
            if self._damaged and self.path.exists():
                self.path.replace(self.path.with_name(f"{SERVING_FILE}.damaged"))
            for path in (self.path, _wal(self.path), self.path.with_name(f"{SERVING_FILE}-shm")):
                path.unlink(missing_ok=True)
        self._damaged = ""
        self._run(lambda _: None)

    def close(self) -> None:
        """Close the file and release it to others."""
        self._close_file()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def _close_file(self) -> None:
        connection, self._connection, self._writer = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):  # what was committed is in the WAL
                connection.close()

    def _own(self) -> None:
        with storage(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._lock or locked(self.path.with_name(LOCK_FILE))

    def _run(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the open file; a transaction that failed is undone."""
        if self._damaged:
            raise ViewCorrupt(self._damaged)
        try:
            with view_errors(self.path):
                return action(self._connection or self._open())
        except LogCorrupt as error:
            self._undo()
            self._damaged = f"{self.path}: {error}"
            raise ViewCorrupt(self._damaged) from error
        except ViewCorrupt as error:
            self._undo()
            self._damaged = "" if isinstance(error, _OtherVersion) else str(error)
            raise
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # it may have been rolled back already
                self._connection.rollback()
        self._writer = None  # its counts and numbers are those of the transaction

    def _open(self) -> sqlite3.Connection:
        self._own()
        connection = connect(self.path, cache_kib=WRITER_CACHE_KIB, create=True)
        try:
            if is_empty(connection):
                create_tables(connection)
            if not is_ours(connection):
                raise _OtherVersion(f"{self.path} was made by another version")  # noqa: TRY301
            self._standing = notes.standing_of(recall(connection, STANDING))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _apply(self, connection: sqlite3.Connection, batch: Batch) -> None:
        stored = self._standing.positions
        places = {**stored, **batch.positions}
        standing = Standing(batch.config.log_id, places, batch.as_of_ms, batch.rules)
        connection.execute("BEGIN IMMEDIATE")
        if self._writer is None:
            counts = recall(connection, COUNTS)
            known = Counts() if counts is None else decode(counts.encode(), Counts)
            self._writer = ServingWriter(connection, known, self._keep)
            if recall(connection, KEPT) != self._keep:
                GoneFiles(connection, self._keep).cut_down()
                _remember(connection, KEPT, self._keep)
        for record in batch.records:
            if record.offset >= stored.get(TopicPartition(record.topic, record.partition), 0):
                self._writer.take(record)
        _remember(connection, COUNTS, encode(self._writer.finished()).decode())
        _remember(connection, STANDING, notes.standing_text(standing))
        _remember(connection, CUT, None)
        connection.execute("COMMIT")
        self._standing = standing

    def _reached(self, connection: sqlite3.Connection, at: Reached) -> None:
        due = positions_of(at.vector, self.topics)
        assert at.vector.log_id == self._standing.log_id
        assert all(self._standing.positions.get(key, 0) == place for key, place in due.items())
        standing = self._standing._replace(as_of_ms=at.as_of_ms)
        note = CutNote(at.vector.log_id, at.vector.cuts, at.config, at.head, at.as_of_ms)
        connection.execute("BEGIN IMMEDIATE")
        _remember(connection, CUT, encode(note).decode())
        _remember(connection, STANDING, notes.standing_text(standing))
        connection.execute("COMMIT")
        self._standing = standing


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _cut_of(connection: sqlite3.Connection) -> CutNote | None:
    text = recall(connection, CUT)
    return None if text is None else decode(text.encode(), CutNote)


def recall(connection: sqlite3.Connection, key: str) -> str | None:
    """A note's text, None if there is none. Raises sqlite3.Error."""
    row = connection.execute("SELECT value FROM memo WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def _remember(connection: sqlite3.Connection, key: str, text: str | None) -> None:
    connection.execute("INSERT OR REPLACE INTO memo VALUES (?, ?)", (key, text))
