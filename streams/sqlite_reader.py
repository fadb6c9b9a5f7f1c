"""The reading half of the SQLite log: plain blocking code, one short read transaction at a time.

How a table stays exact although it is read in several transactions, while others write and clean:
rows are folded in the order of their offsets up to `end`, a committed end, taken in the first of
them. Cleaning may meanwhile remove a row below `end`
- because a row below `end` replaced it: that one is folded, too, later on;
- because a row at or after `end` replaced it: then `compacted` lies above `end` when the fold
  arrives there, and the fold goes on to the end of that moment;
- because it was a tombstone past its time: it matters only if the row which it deleted was folded
  before, so it was not compacted yet when the fold began; `purged` tells, the fold starts again.
"""

# ruff: noqa: S608  # the only names put into SQL are those of our own tables

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schemas.errors import LogCorrupt, LogTruncated
from schemas.topics import Offset, Topic
from streams.log import Record, Table, TopicPartition
from streams.sqlite_errors import MEND
from streams.sqlite_rows import (
    COLUMNS,
    KEY,
    VALUE,
    Row,
    StoredTable,
    damaged,
    record_of,
    sound_rows,
    value_bytes,
)
from streams.sqlite_schema import PartitionTable

READ_BYTES_MAX = 32 * 1024 * 1024  # values of one batch: what a reader may cost in memory
READ_ROWS_MAX = 20_000  # rows of one read transaction, about 0.1 s: the WAL can be reset after it

Tables = Mapping[TopicPartition, PartitionTable]
Positions = Mapping[TopicPartition, Offset]


class Extent(NamedTuple):
    """One row of `partitions`."""

    start: Offset
    next: Offset
    compacted: int
    purged: int


class Span(NamedTuple):
    """Offsets of one partition: from `position` on, before `end`."""

    position: Offset
    end: Offset


class Taken(NamedTuple):
    """Rows of one partition, where to read on, the bytes still free.

    `exhausted`: nothing more was there within the span; else room or bytes were used up.
    """

    rows: list[Row]
    next_offset: Offset
    bytes_left: int
    exhausted: bool


class Batch(NamedTuple):
    """Records, where to read on, and which partition comes first then."""

    records: list[Record]
    positions: dict[TopicPartition, Offset]
    first: int


@contextlib.contextmanager
def read_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One state of the log for all statements within."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.Error):  # nothing was written: nothing can be lost
            connection.execute("ROLLBACK")


def data_version(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection, of any process, has committed."""
    [(version,)] = connection.execute("PRAGMA data_version").fetchall()
    return int(version)


def extents(connection: sqlite3.Connection, tables: Tables) -> dict[TopicPartition, Extent]:
    """Of every partition. Raises LogCorrupt if they cannot be so."""
    rows = connection.execute("SELECT id, start, next, compacted, purged FROM partitions")
    by_id = {row[0]: Extent(*row[1:]) for row in rows.fetchall()}
    try:
        found = {at: by_id[table.id] for at, table in tables.items()}
        sound = all(
            0 <= extent.start <= extent.next and extent.purged < extent.compacted <= extent.next
            for extent in found.values()
        )
    except (KeyError, TypeError) as error:
        raise LogCorrupt("the log's list of partitions is damaged", hint=MEND) from error
    if not sound:
        raise LogCorrupt("the log's list of partitions contradicts itself", hint=MEND)
    return found


def topic_ends(
    connection: sqlite3.Connection, tables: Tables, topic: Topic
) -> dict[TopicPartition, Offset]:
    """Offset after the last committed record."""
    found = extents(connection, tables).items()
    return {at: Offset(extent.next) for at, extent in found if at.topic is topic}


def topic_starts(
    connection: sqlite3.Connection, tables: Tables, topic: Topic
) -> dict[TopicPartition, Offset]:
    """First offset still readable."""
    found = extents(connection, tables).items()
    return {at: Offset(extent.start) for at, extent in found if at.topic is topic}


def check_position(at: TopicPartition, position: int, extent: Extent) -> None:
    """Raises LogTruncated for a position outside of what the log has."""
    if not extent.start <= position <= extent.next:
        raise LogTruncated(
            f"{at.topic}/{at.partition}: position {position} is not within"
            f" [{extent.start}, {extent.next}], which is what the log has",
            hint="pypistream rebuild",
        )


def check_positions(connection: sqlite3.Connection, tables: Tables, positions: Positions) -> None:
    """The same for several."""
    found = extents(connection, tables)
    for at, position in positions.items():
        check_position(at, position, found[at])


def read_batch(
    connection: sqlite3.Connection,
    tables: Tables,
    positions: Positions,
    first: int,
    max_records: int,
) -> Batch:
    """Up to `max_records` records of these partitions, beginning with the `first`-th."""
    records: list[Record] = []
    moved: dict[TopicPartition, Offset] = {}
    room = min(max_records, READ_ROWS_MAX)
    bytes_left = READ_BYTES_MAX
    order = list(positions)
    with read_transaction(connection):
        found = extents(connection, tables)
        for at, position in positions.items():
            check_position(at, position, found[at])
        for index in range(first, first + len(order)):
            at = order[index % len(order)]
            span = Span(positions[at], found[at].next)
            taken = _take(connection, tables[at], span, room, bytes_left)
            if taken.exhausted and taken.next_offset != span.end:
                # the last row of a partition is never removed
                raise damaged(at, span.end - 1, "it is missing")
            moved[at] = taken.next_offset
            records += [record_of(row, at) for row in taken.rows]
            room -= len(taken.rows)
            bytes_left = taken.bytes_left
            if not taken.exhausted:
                return Batch(records, moved, (index + 1) % len(order))
    return Batch(records, moved, first)


def _take(
    connection: sqlite3.Connection, table: PartitionTable, span: Span, room: int, bytes_left: int
) -> Taken:
    """Rows of one partition within the span, until there is no room for more."""
    if span.position == span.end:
        return Taken([], Offset(span.end), bytes_left, exhausted=True)
    cursor = connection.execute(
        f"SELECT {COLUMNS} FROM {table.name} WHERE offset >= ? AND offset < ?"
        " ORDER BY offset LIMIT ?",
        (span.position, span.end, room),
    )
    rows: list[Row] = []
    next_offset = span.position
    with contextlib.closing(cursor):
        for row in sound_rows(cursor, table.at):
            offset = row[0]
            if offset != next_offset and not table.compacted:
                raise damaged(table.at, next_offset, "it is missing")
            rows.append(row)
            next_offset = Offset(offset + 1)
            bytes_left -= value_bytes(row)
            if bytes_left <= 0:
                break
    exhausted = len(rows) < room and bytes_left > 0
    return Taken(rows, next_offset, bytes_left, exhausted)


class Fold:
    """A compacted partition being folded, one read transaction per `step`; see above."""

    def __init__(self, table: PartitionTable) -> None:
        if not table.compacted:
            raise ValueError(f"{table.at.topic} is no table: it is not compacted")
        self._table = table
        self._begun: Extent | None = None
        self._rows: dict[str, Row] = {}
        self._position = self._end = Offset(0)

    def step(self, connection: sqlite3.Connection, tables: Tables) -> Table | None:
        """Fold some more rows; the table once all are."""
        with read_transaction(connection):
            extent = extents(connection, tables)[self._table.at]
            if self._begun is None:
                self._begun, self._end = extent, extent.next
                self._rows, self._position = {}, extent.start
            span = Span(self._position, self._end)
            taken = _take(connection, self._table, span, READ_ROWS_MAX, READ_BYTES_MAX)
        self._fold(taken.rows)
        self._position = taken.next_offset
        if not taken.exhausted:
            return None
        if extent.purged >= self._begun.compacted:
            self._begun = None
            return None
        self._position = self._end
        if extent.compacted > self._end:
            self._end = extent.next
            return None
        if self._end == extent.next != taken.next_offset:
            raise damaged(self._table.at, self._end - 1, "it is missing")
        return Table(StoredTable(self._rows, self._table.at), self._end)

    def _fold(self, rows: list[Row]) -> None:
        for row in rows:
            key = row[KEY] or ""
            if row[VALUE] is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
