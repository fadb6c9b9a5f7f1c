"""Checks DuckDB and a snapshot, for `pypistream doctor`."""

from __future__ import annotations

from pathlib import Path

import duckdb

from schemas.errors import StorageFailed, ViewCorrupt
from sinks.duckdb.errors import first_line
from sinks.duckdb.literals import literal
from sinks.duckdb.snapshot import STORAGE_VERSION, open_snapshot

MEMORY_LIMIT = "256MB"  # counting rows takes next to nothing


def duckdb_version() -> str:
    """Of the installed library."""
    return duckdb.__version__


def check_round_trip(folder: Path) -> None:
    """Write a file in the snapshot's storage version and read it back. Raises StorageFailed."""
    path = folder / "check.duckdb"
    try:
        with duckdb.connect() as connection:
            connection.execute(
                f"ATTACH {literal(path)} AS aside (STORAGE_VERSION '{STORAGE_VERSION}')"
            )
            connection.execute("CREATE TABLE aside.t AS SELECT 'one' AS x")
            connection.execute("DETACH aside")
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute("SELECT x FROM t").fetchall()
    except duckdb.Error as error:
        raise StorageFailed(
            f"DuckDB cannot write and read a file in {folder}: {first_line(error)}",
            hint="check the disk and its permissions, or install another duckdb version",
        ) from error
    if rows != [("one",)]:
        raise StorageFailed(f"DuckDB read back {rows!r} from {folder}")


def check_snapshot(path: Path) -> int:
    """How many projects a snapshot shows. Raises ViewCorrupt, StorageFailed."""
    try:
        with open_snapshot(path, memory_limit=MEMORY_LIMIT) as connection:
            row = connection.execute("SELECT count(*) FROM projects").fetchone()
    except duckdb.Error as error:
        raise ViewCorrupt(
            f"{path} cannot be read: {first_line(error)}", hint="pypistream rebuild duckdb"
        ) from error
    return int(row[0]) if row else 0
