"""What leaves the SQLite log's file at once: see `Log.purge`. Plain blocking code.

Every connection has `secure_delete`, so what a row held is overwritten when the row goes; the WAL
is what is left then, with pages as they were before.
"""

# ruff: noqa: S608  # the only names put into SQL are those of our own tables

from __future__ import annotations

import sqlite3
import time

from schemas.topics import COMPACTED
from streams.log import Changing, LogUnavailable, Outgoing
from streams.sqlite_clean import due
from streams.sqlite_reader import Tables
from streams.sqlite_rows import COLUMNS, checksum, packed, record_of, sound_rows
from streams.sqlite_schema import PartitionTable
from streams.sqlite_writer import write_transaction

LETTERS_PIECE = 500  # rows of one transaction, 4 KiB each at most
TRUNCATE_TRIES_MAX = 20  # each waits for readers as long as the busy time-out; theirs take < 1 s


def due_compacted(
    connection: sqlite3.Connection, tables: Tables, now_ms: int
) -> list[PartitionTable]:
    """Partitions of the compacted topics of documents with something to remove. Reads only."""
    return [each for each in due(connection, tables, now_ms) if each.at.topic in COMPACTED]


def change_values(connection: sqlite3.Connection, table: PartitionTable, changing: Changing) -> int:
    """Give the partition's records the values that `changing` makes of them; how many it changed.

    Raises LogCorrupt.
    """
    changed, position = 0, -1
    while True:
        with write_transaction(connection):
            rows = list(
                sound_rows(
                    connection.execute(
                        f"SELECT {COLUMNS} FROM {table.name} WHERE offset > ?"
                        " ORDER BY offset LIMIT ?",
                        (position, LETTERS_PIECE),
                    ).fetchall(),
                    table.at,
                )
            )
            for row in rows:
                record = record_of(row, table.at)
                value = changing(record)
                position = record.offset
                if value == record.value:
                    continue
                stored = packed(Outgoing(record.topic, record.key, value, record.headers))
                crc = checksum(record.offset, record.timestamp_ms, stored)
                connection.execute(
                    f"UPDATE {table.name} SET checksum = ?, unpacked_bytes = ?, value = ?"
                    " WHERE offset = ?",
                    (crc, stored.unpacked_bytes, stored.value, record.offset),
                )
                changed += 1
        if len(rows) < LETTERS_PIECE:
            return changed


def truncate_wal(connection: sqlite3.Connection) -> None:
    """Leave nothing in the WAL. Raises LogUnavailable if somebody reads from it all the while."""
    for _ in range(TRUNCATE_TRIES_MAX):
        [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if not busy:
            return
        time.sleep(0.05)
    raise LogUnavailable("the log's WAL cannot be emptied: somebody reads from it all the while")
