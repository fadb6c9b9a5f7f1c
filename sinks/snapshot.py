"""The published DuckDB file: written aside, renamed, and opened by readers who may only read.

The live file is locked against every other process while its sink runs, and grows with updates; a
copy of the database is compact, a file of its own, and of a storage version that DuckDB 1.2 opens.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import duckdb

from schemas.errors import NotPublished
from sinks.duckdb_errors import meaning
from sinks.durable import discard, storage, sync_directory, sync_file

STORAGE_VERSION = "v1.2.0"  # what DuckDB 2 writes by default is read by no 1.x
SNAPSHOT_FILE = "pypi.duckdb"

LOCKED_DOWN: Mapping[str, str] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}
"""No files, no network, no extensions, no Python variables; without `lock_configuration`, which the
opener sets once it has set what it needs."""


def write_snapshot(connection: duckdb.DuckDBPyConnection, target: Path) -> int:
    """Copy the connection's database to a new file and put that in the place of `target`.

    Returns its size in bytes. Raises DiskFull and what else `meaning` says; `target` is then as it
    was.
    """
    aside = target.with_name(f".{target.name}.new")
    discard(aside, wal_of(aside))
    try:
        try:
            _copy(connection, aside)
        except duckdb.Error as error:
            raise meaning(error, target) from error
        with storage(target):
            with aside.open("rb") as file:
                sync_file(file)
            size = aside.stat().st_size
            # Someone who opened the old file for writing may have left this; it is not ours.
            discard(wal_of(target))
            os.replace(aside, target)  # noqa: PTH105  # `rename` and `replace` differ on no system here
            sync_directory(target.parent)
            return size
    finally:
        discard(aside, wal_of(aside))


def _copy(connection: duckdb.DuckDBPyConnection, aside: Path) -> None:
    place = str(aside).replace("'", "''")
    row = connection.execute("SELECT current_database()").fetchall()
    connection.execute(f"ATTACH '{place}' AS snapshot (STORAGE_VERSION '{STORAGE_VERSION}')")
    try:
        connection.execute(f'COPY FROM DATABASE "{row[0][0]}" TO snapshot')
    finally:
        connection.execute("DETACH snapshot")  # checkpoints it: no WAL stays behind


def wal_of(path: Path) -> Path:
    """Where DuckDB keeps what it has not checkpointed."""
    return path.with_name(path.name + ".wal")


def open_snapshot(path: Path, settings: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    """Open a published file for reading, locked down; `settings` go before the lock.

    Raises NotPublished if there is none, ViewCorrupt, StorageFailed.
    """
    if not path.is_file():
        raise NotPublished(
            f"there is no snapshot at {path} yet",
            hint="`pypistream run` publishes one within a minute; or give another --data",
        )
    try:
        connection = duckdb.connect(
            str(path),
            read_only=True,
            config={**LOCKED_DOWN, **settings, "lock_configuration": "true"},
        )
    except duckdb.Error as error:
        raise meaning(error, path) from error
    return connection
