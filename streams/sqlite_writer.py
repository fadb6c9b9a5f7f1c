"""The writing half of the SQLite log: plain blocking code, for the one writer thread of a log."""

# ruff: noqa: S608  # the only names put into SQL are those of our own tables

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from schemas.errors import LogCorrupt, WriterFenced
from schemas.topics import Offset
from streams.log import Closing, Outgoing, TopicPartition
from streams.placing import place_of
from streams.sqlite_errors import MEND
from streams.sqlite_rows import COLUMNS, Packed, Row, checksum, packed_all
from streams.sqlite_schema import PartitionTable

ROWS_AT_ONCE = 64  # of one statement, which runs without holding the interpreter

Ends = dict[TopicPartition, Offset]
Stored = dict[TopicPartition, list[tuple[int, Packed]]]


class Taken(NamedTuple):
    """A writer id as it was taken: its epoch, and the log's ends at that moment."""

    writer_id: str
    epoch: int
    ends: Ends


class Written(NamedTuple):
    """Offsets of the records given, and the next offset of each partition written."""

    offsets: list[Offset]
    ends: Ends


@contextlib.contextmanager
def write_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; waits for other processes up to the busy time-out."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # a full disk has rolled back already; a second error would hide the first
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


class WriteSide:
    """Transactions. Raises sqlite3's own errors among others: the caller translates them."""

    def __init__(
        self,
        tables: Mapping[TopicPartition, PartitionTable],
        partitions: int,
        now_ms: Callable[[], int],
        *,
        loading: bool = False,
    ) -> None:
        self.partitions = partitions
        self._loading = loading
        self._tables = tables
        self.now_ms = now_ms

    def take(self, connection: sqlite3.Connection, writer_id: str) -> Taken:
        """Take a writer id: whoever held it is fenced from now on."""
        with write_transaction(connection):
            connection.execute(
                "INSERT INTO writers VALUES (?, 1)"
                " ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1",
                (writer_id,),
            )
            epoch = _epoch(connection, writer_id)
            next_of = dict(connection.execute("SELECT id, next FROM partitions").fetchall())
        ends = {at: Offset(next_of[table.id]) for at, table in self._tables.items()}
        return Taken(writer_id, epoch, ends)

    def append(self, connection: sqlite3.Connection, records: Sequence[Outgoing]) -> list[Offset]:
        """One transaction without a writer id."""
        batch = self.batch(records)
        with write_transaction(connection):
            return self._insert(connection, batch, self.now_ms()).offsets

    def commit(
        self,
        connection: sqlite3.Connection,
        batch: Stored,
        closing: Closing | None,
        taken: Taken,
        ends: Ends,
    ) -> Written:
        """One transaction of a writer; `ends` = what it knows of its own partitions so far.

        `batch` is made beforehand: others need not wait for zstd. Raises WriterFenced, and whatever
        `closing` raises: nothing is written then.
        """
        if self._loading:
            later = closing is None
            connection.execute(f"PRAGMA synchronous = {'NORMAL' if later else 'FULL'}")
        with write_transaction(connection):
            if _epoch(connection, taken.writer_id) != taken.epoch:
                raise WriterFenced(f"another process has taken the writer id {taken.writer_id!r}")
            timestamp_ms = self.now_ms()
            written = self._insert(connection, batch, timestamp_ms)
            if closing is not None:
                ahead = MappingProxyType({**ends, **written.ends})
                last = self._insert(connection, self.batch(closing(ahead)), timestamp_ms)
                written.ends.update(last.ends)
        return written

    def batch(self, records: Sequence[Outgoing]) -> Stored:
        """Stored forms by partition, each with its index among `records`. Raises as `placed`."""
        places = [place_of(record, self.partitions) for record in records]
        batch: Stored = {}
        for index, stored in enumerate(packed_all(records)):
            batch.setdefault(places[index], []).append((index, stored))
        return batch

    def _insert(self, connection: sqlite3.Connection, batch: Stored, timestamp_ms: int) -> Written:
        offsets = [Offset(-1)] * sum(len(stored) for stored in batch.values())
        ends: Ends = {}
        for at, stored in batch.items():
            table = self._tables[at]
            start = _next(connection, table)
            rows: list[tuple[object, ...]] = []
            newest: dict[str, int] = {}
            for offset, (index, record) in enumerate(stored, start):
                crc = checksum(offset, timestamp_ms, record)
                size, headers, value = record.unpacked_bytes, record.headers, record.value
                row: Row = (offset, timestamp_ms, crc, size, record.key, headers, value)
                key = record.key or ""  # never without one where it counts
                rows.append((*row, newest.get(key)) if table.compacted else row)
                newest[key] = offset
                offsets[index] = Offset(offset)
            _execute(connection, partial(_insert_sql, table), rows)
            if table.compacted:
                # in the order of the keys, which is that of the pages
                _execute(connection, partial(_latest_sql, table), sorted(newest.items()))
            ends[at] = Offset(start + len(rows))
            connection.execute("UPDATE partitions SET next = ? WHERE id = ?", (ends[at], table.id))
        return Written(offsets, ends)


def _epoch(connection: sqlite3.Connection, writer_id: str) -> int:
    rows = connection.execute("SELECT epoch FROM writers WHERE id = ?", (writer_id,)).fetchall()
    return int(rows[0][0]) if rows else 0


def _next(connection: sqlite3.Connection, table: PartitionTable) -> int:
    rows = connection.execute("SELECT next FROM partitions WHERE id = ?", (table.id,)).fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], int):
        raise LogCorrupt(f"{table.name} has lost its place in `partitions`", hint=MEND)
    return int(rows[0][0])


def _execute(
    connection: sqlite3.Connection, sql: Callable[[int], str], rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert all rows; `sql(n)` takes n of them at once."""
    whole = len(rows) - len(rows) % ROWS_AT_ONCE
    pieces = (rows[start : start + ROWS_AT_ONCE] for start in range(0, whole, ROWS_AT_ONCE))
    if whole:
        together = (tuple(chain.from_iterable(piece)) for piece in pieces)
        connection.executemany(sql(ROWS_AT_ONCE), together)
    connection.executemany(sql(1), rows[whole:])


def _insert_sql(table: PartitionTable, rows: int) -> str:
    """Parameters: COLUMNS, then in a compacted topic where the same batch has the key already.

    (Null = nowhere. `latest` does not know the batch yet.)
    """
    if not table.compacted:
        values = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)
        return f"INSERT INTO {table.name} ({COLUMNS}) VALUES {values}"
    values = ", ".join(_compacted_row(table, 8 * row) for row in range(rows))
    return f"INSERT INTO {table.name} ({COLUMNS}, previous) VALUES {values}"


def _compacted_row(table: PartitionTable, before: int) -> str:
    """The values of one row; so many parameters come before it."""
    own = ", ".join(f"?{before + number}" for number in range(1, 8))
    key, known = before + 5, before + 8
    return (
        f"({own}, coalesce(?{known}, (SELECT offset FROM {table.name}_latest WHERE key = ?{key})))"
    )


def _latest_sql(table: PartitionTable, rows: int) -> str:
    return (
        f"INSERT INTO {table.name}_latest VALUES {', '.join(['(?, ?)'] * rows)}"
        " ON CONFLICT (key) DO UPDATE SET offset = excluded.offset"
    )
