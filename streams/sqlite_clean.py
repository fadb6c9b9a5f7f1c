"""Compaction and retention of the SQLite log, in pieces: each one short write transaction.

When a row is old enough it is visited once, to remove the row that it replaced (`previous`), and
the pointer `compacted` moves past it. Expired tombstones are found by an index of their own. So a
call with nothing to do reads a few rows per partition, and no row is scanned twice.
"""

# ruff: noqa: S608  # the only names put into SQL are those of our own tables

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from streams.cleaning import Limits, limits
from streams.sqlite_reader import Extent, Tables, extents, read_transaction
from streams.sqlite_schema import PartitionTable
from streams.sqlite_writer import write_transaction

PIECE_ROWS = 1000  # of one transaction, 10 to 30 ms: a commit waits that long at most
PIECE_BYTES = 16 * 1024 * 1024  # the same for large values, whose pages are freed one by one
PIECES_MAX = 8  # of one call: 8000 rows every few seconds is more than PyPI ever writes


def due(connection: sqlite3.Connection, tables: Tables, now_ms: int) -> list[PartitionTable]:
    """Partitions with something to remove or to look at. Reads only."""
    with read_transaction(connection):
        found = extents(connection, tables)
        return [
            table
            for at, table in tables.items()
            if _due(connection, table, found[at], limits(at.topic, now_ms))
        ]


def _due(
    connection: sqlite3.Connection, table: PartitionTable, extent: Extent, limit: Limits
) -> bool:
    begin = extent.compacted if table.compacted else extent.start
    upto_ms = limit.superseding if table.compacted else limit.any
    last = extent.next - 1
    if upto_ms is not None and (begin <= last if table.compacted else begin < last):
        rows = connection.execute(
            f"SELECT timestamp_ms FROM {table.name} WHERE offset >= ? ORDER BY offset LIMIT 1",
            (begin,),
        ).fetchall()
        if rows and rows[0][0] <= upto_ms:
            return True
    return table.compacted and bool(_old_tombstones(connection, table, extent, limit, 1))


def clean_piece(connection: sqlite3.Connection, table: PartitionTable, now_ms: int) -> int:
    """One transaction's worth of one partition; how many records went."""
    limit = limits(table.at.topic, now_ms)
    with write_transaction(connection):
        [row] = connection.execute(
            "SELECT start, next, compacted, purged FROM partitions WHERE id = ?", (table.id,)
        ).fetchall()
        extent = Extent(*row)
        if table.compacted:
            return _compact(connection, table, extent, limit)
        return _retain(connection, table, extent, limit)


def _retain(
    connection: sqlite3.Connection, table: PartitionTable, extent: Extent, limit: Limits
) -> int:
    """Remove what is older than the retention, from the start on; the last row stays."""
    start = int(extent.start)
    size = 0
    rows = connection.execute(
        f"SELECT offset, timestamp_ms, length(value) FROM {table.name}"
        " WHERE offset >= ? AND offset < ? ORDER BY offset LIMIT ?",
        (start, extent.next - 1, PIECE_ROWS),
    ).fetchall()
    for offset, timestamp_ms, length in rows:
        if limit.any is None or timestamp_ms > limit.any or size > PIECE_BYTES:
            break
        start = offset + 1
        size += length or 0
    removed = connection.execute(f"DELETE FROM {table.name} WHERE offset < ?", (start,)).rowcount
    connection.execute("UPDATE partitions SET start = ? WHERE id = ?", (start, table.id))
    return removed


def _compact(
    connection: sqlite3.Connection, table: PartitionTable, extent: Extent, limit: Limits
) -> int:
    """Remove rows that were replaced, and tombstones past their time; the last row stays."""
    compacted = int(extent.compacted)
    removed = 0
    for past, replaced in _replaced(connection, table, extent, limit):
        compacted = past
        if replaced is not None:
            connection.execute(f"DELETE FROM {table.name} WHERE offset = ?", (replaced,))
            removed += 1
    purged = int(extent.purged)
    extent = extent._replace(compacted=compacted)
    for offset, key in _old_tombstones(connection, table, extent, limit, PIECE_ROWS):
        connection.execute(f"DELETE FROM {table.name} WHERE offset = ?", (offset,))
        connection.execute(
            f"DELETE FROM {table.name}_latest WHERE key = ? AND offset = ?", (key, offset)
        )
        purged = max(purged, offset)
        removed += 1
    connection.execute(
        "UPDATE partitions SET compacted = ?, purged = ? WHERE id = ?",
        (compacted, purged, table.id),
    )
    return removed


def _replaced(
    connection: sqlite3.Connection, table: PartitionTable, extent: Extent, limit: Limits
) -> Iterator[tuple[int, int | None]]:
    """Of each row that is old enough: the offset after it, and the row replaced, if still there.

    A damaged `previous` never removes another key's row.
    """
    size = 0
    rows = connection.execute(
        f"SELECT offset, timestamp_ms, previous, key FROM {table.name}"
        " WHERE offset >= ? ORDER BY offset LIMIT ?",
        (extent.compacted, PIECE_ROWS),
    ).fetchall()
    for offset, timestamp_ms, previous, key in rows:
        if limit.superseding is None or timestamp_ms > limit.superseding or size > PIECE_BYTES:
            return
        replaced = None
        if previous is not None and previous < offset:
            found = connection.execute(
                f"SELECT length(value) FROM {table.name} WHERE offset = ? AND key = ?",
                (previous, key),
            ).fetchall()
            if found:
                replaced = previous
                size += found[0][0] or 0
        yield offset + 1, replaced


def _old_tombstones(
    connection: sqlite3.Connection,
    table: PartitionTable,
    extent: Extent,
    limit: Limits,
    rows_max: int,
) -> list[tuple[int, str]]:
    """Tombstones past their time whose older rows are gone; never the partition's last row."""
    if limit.tombstone is None:
        return []
    before = min(extent.compacted, extent.next - 1)
    return connection.execute(
        f"SELECT offset, key FROM {table.name} INDEXED BY {table.name}_tombstones"
        " WHERE value IS NULL AND timestamp_ms <= ? AND offset < ? LIMIT ?",
        (limit.tombstone, before, rows_max),
    ).fetchall()
