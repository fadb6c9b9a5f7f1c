"""The file `log.sqlite`: its tables, its version, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import DataDirectoryVersion, LogCorrupt, LogFull, LogMismatch, UsageError
from schemas.topics import TOPICS, Topic
from streams.connections import BUSY_SECONDS, open_connection
from streams.log import TopicPartition
from streams.placing import every_partition
from streams.sqlite_errors import MEND, storage_errors, translated

FILE_VERSION = 1  # PRAGMA user_version; raised when older programs could not read the file
APPLICATION_ID = 0x70795073  # "pyPs": `file` and we recognise our own
CHECKPOINT_PAGES = 2000  # 8 MB: each checkpoint syncs the file, a longer WAL slows readers
LOADING_CHECKPOINT_PAGES = 16_000  # 64 MB: while a log is loaded nobody reads it
WAL_BYTES_KEPT = 64 * 1024 * 1024  # after one huge transaction the WAL shrinks to this
WRITER_CACHE_KIB = 32 * 1024  # holds the inner pages of every `latest` table of PyPI's size
READER_CACHE_KIB = 4 * 1024  # reads are sequential
STATEMENTS_CACHED = 1024  # N = 12 has 86 partitions with some statements each
EXTRA_PARTITIONS = sum(spec.extra_partitions for spec in TOPICS.values())

_COMMON = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE writers (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    start INTEGER NOT NULL,      -- first offset still readable
    next INTEGER NOT NULL,       -- offset of the next record: never goes back
    compacted INTEGER NOT NULL,  -- rows below have removed those that they replaced
    purged INTEGER NOT NULL,     -- greatest offset of a tombstone that is gone, -1 = none
    UNIQUE (topic, partition)
);
"""
_ROWS = """
CREATE TABLE {name} (
    offset INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL,
    previous INTEGER,            -- offset of the record that this one replaces (compacted topics)
    checksum INTEGER NOT NULL,
    unpacked_bytes INTEGER NOT NULL,  -- 0 = the value as it is, else a zstd frame
    key TEXT, headers BLOB NOT NULL, value BLOB
);
"""
_LATEST = """
CREATE TABLE {name}_latest (key TEXT PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX {name}_tombstones ON {name} (timestamp_ms) WHERE value IS NULL;
"""


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """Where one partition lies: `id` in `partitions`, `name` of its table."""

    id: int
    at: TopicPartition
    name: str
    compacted: bool


def partition_tables(partitions: int) -> dict[TopicPartition, PartitionTable]:
    """Every partition's table; ids follow from the order of topics and partitions."""
    return {
        at: PartitionTable(
            index,
            at,
            f"{at.topic.value.replace('-', '_')}_{at.partition}",
            TOPICS[at.topic].cleanup == "compact",
        )
        for index, at in enumerate(every_partition(partitions))
    }


def connect(
    path: Path, *, cache_kib: int, create: bool = False, loading: bool = False
) -> sqlite3.Connection:
    """A connection with our settings. Raises sqlite3.Error."""
    checkpoint_pages = LOADING_CHECKPOINT_PAGES if loading else CHECKPOINT_PAGES
    pragmas = (
        "synchronous = FULL",  # a commit that was acknowledged survives a power cut
        "fullfsync = ON",  # macOS: fsync alone does not reach the disk
        "checkpoint_fullfsync = ON",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "secure_delete = ON",  # what was removed or replaced is no more in any page
        "temp_store = MEMORY",
        f"cache_size = -{cache_kib}",
        f"wal_autocheckpoint = {checkpoint_pages}",
        f"journal_size_limit = {WAL_BYTES_KEPT}",
    )
    return open_connection(path, pragmas, statements_cached=STATEMENTS_CACHED, create=create)


def open_file(path: Path, partitions: int | None, *, create: bool) -> int:
    """Make sure that the file is a log that we can use; returns its N.

    Raises UsageError (no file, no permission), DataDirectoryVersion, LogMismatch, LogCorrupt,
    LogFull, LogUnavailable.
    """
    missing = UsageError(
        f"no log in {path.parent}", hint=f"start with `pypistream run --data {path.parent}`"
    )
    if not create and not path.exists():
        raise missing
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path.parent} cannot be made: {error.strerror}", hint="choose another one with --data"
        ) from error
    with storage_errors(path):
        connection = connect(path, cache_kib=READER_CACHE_KIB, create=create)
        try:
            if _empty(connection):
                if not create:
                    raise missing
                _create(connection, partitions or 1, path)
            return _checked(connection, partitions, path)
        finally:
            connection.close()


def _empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def _create(connection: sqlite3.Connection, partitions: int, path: Path) -> None:
    """Make all tables in one transaction: a creation that was killed leaves an empty file."""
    _use_wal(connection, path)
    connection.execute("BEGIN IMMEDIATE")  # closing the connection ends it if something fails
    if _empty(connection):  # else another process was quicker
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FILE_VERSION}")
        _create_tables(connection, partitions)
    connection.execute("COMMIT")
    _sync_directory(path.parent)


def _create_tables(connection: sqlite3.Connection, partitions: int) -> None:
    tables = partition_tables(partitions)
    script = _COMMON
    for table in tables.values():
        script += _ROWS.format(name=table.name)
        if table.compacted:
            script += _LATEST.format(name=table.name)
    for statement in script.split(";\n"):  # executescript would commit before it begins
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('partitions', ?)", (partitions,))
    connection.executemany(
        "INSERT INTO partitions VALUES (?, ?, ?, 0, 0, 0, -1)",
        [(table.id, table.at.topic, table.at.partition) for table in tables.values()],
    )


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    """SQLite does not wait here for a process that does the same: so we do."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise translated(error, path) from error
            time.sleep(0.01)
        else:
            return


def _sync_directory(directory: Path) -> None:
    """The new file's name is on the disk, too."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LogFull(
            f"{directory}: {error.strerror}", hint="make room on that disk, then start again"
        ) from error


def _checked(connection: sqlite3.Connection, asked: int | None, path: Path) -> int:
    [(application,)] = connection.execute("PRAGMA application_id").fetchall()
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    if application != APPLICATION_ID:
        raise DataDirectoryVersion(
            f"{path} is not a log of pypistream", hint="give another directory with --data"
        )
    if version != FILE_VERSION:
        newer = version > FILE_VERSION
        raise DataDirectoryVersion(
            f"{path} has version {version}; this program reads version {FILE_VERSION}",
            hint="update pypistream"
            if newer
            else "start in a new directory with --data: pypistream run --backfill",
        )
    rows = connection.execute(
        "SELECT CAST(value AS INTEGER), (SELECT count(*) FROM partitions)"
        " FROM meta WHERE name = 'partitions'"
    ).fetchall()
    if len(rows) != 1 or rows[0][1] != len(Topic) * rows[0][0] + EXTRA_PARTITIONS:
        raise LogCorrupt(f"{path}: its list of partitions is damaged", hint=MEND)
    partitions = int(rows[0][0])
    if asked is not None and asked != partitions:
        raise LogMismatch(
            f"{path} has {partitions} partitions, not {asked}; their number is never changed",
            hint="fill a new --data directory from a dump of this one: pypistream bootstrap",
        )
    return partitions
