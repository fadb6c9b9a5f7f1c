"""Rewrites a published DuckDB file without the unused space that updates left behind.

`python -m sinks.duckdb.rewriting SOURCE MARK TARGET MEGABYTES`, the child of a sink that goes on
with its live file meanwhile: see `sinks.duckdb.compaction`. Rows are copied some thousand at a
time, each time with a commit. So there is never more than that to be synced at once, for which a
commit of the sink would have to wait, and memory holds the index of one table and little else.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, or quoted

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import closing
from pathlib import Path

import duckdb

from schemas.errors import PypistreamError, ViewCorrupt
from sinks.duckdb import memo
from sinks.duckdb.copying import HEADER_BYTES
from sinks.duckdb.errors import meaning
from sinks.duckdb.literals import literal
from sinks.duckdb.parent import end_with_parent
from sinks.duckdb.schema import (
    PROGRESS,
    PROJECT,
    ROW_GROUP_ROWS,
    SCHEMA,
    TABLES,
    VIEW_FORMAT,
)
from sinks.duckdb.snapshot import FILLING, UTC, wal_of, writer_config
from sinks.durable import discard, storage

NICE = 5  # a lower priority than the sink's: of a core that both want this gets a quarter
ROWS_AT_ONCE = ROW_GROUP_ROWS  # 20 MB
PATHS = (*(table.path for table in (*TABLES, PROGRESS)), f"{SCHEMA}.memo")


def spill_of(target: Path) -> Path:
    """Where DuckDB spills to while it writes `target`."""
    return target.with_name(f"{target.name}.spill")


def mark_of(path: Path) -> str:
    """A mark of the file that changes as soon as anybody writes to it. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(HEADER_BYTES)).hexdigest()


def rewritten(source: Path, mark: str, target: Path, megabytes: int) -> None:
    """Write the rows and notes of `source` into `target`, and wait until that is on the disk.

    `mark`: that of the file as the sink made it. Raises ViewCorrupt if the file has changed since,
    DiskFull, StorageFailed; then `target` has to be deleted.
    """
    discard(target, wal_of(target))
    try:
        settings = writer_config(megabytes, spill_of(target))
        with closing(duckdb.connect(config=settings)) as connection:
            connection.execute(UTC)
            _open(connection, source, target)
            connection.execute("USE held")
            if memo.recall(connection, memo.FORMAT) != str(VIEW_FORMAT):
                raise ViewCorrupt(f"{source} was made by another version")
            connection.execute("USE fresh")
            _write(connection, source, target)
    except duckdb.Error as error:
        raise meaning(error, target) from error
    with storage(source):
        if mark_of(source) != mark:
            raise ViewCorrupt(f"somebody wrote to {source}")


def _write(connection: duckdb.DuckDBPyConnection, source: Path, target: Path) -> None:
    # Tables, views, macros and comments: to make them by statements takes 30 times as long.
    connection.execute("COPY FROM DATABASE held TO fresh (SCHEMA)")
    for path in PATHS:
        if _copy(connection, path) > ROWS_AT_ONCE:
            _close(connection)  # frees the memory of the table's index
            _open(connection, source, target)
    connection.execute("CHECKPOINT fresh")
    cut = memo.recall(connection, memo.CUT)
    projects = connection.execute(f"SELECT count(*) FROM {PROJECT.path}").fetchall()[0][0]
    per_project = target.stat().st_size / max(1, projects)
    memo.remember(connection, {memo.PUBLISHED: cut, memo.COMPACT_BYTES: str(per_project)})
    _close(connection)


def _open(connection: duckdb.DuckDBPyConnection, source: Path, target: Path) -> None:
    connection.execute(f"ATTACH {literal(source)} AS held (READ_ONLY)")
    connection.execute(f"ATTACH {literal(target)} AS fresh ({FILLING})")
    connection.execute("USE fresh")


def _close(connection: duckdb.DuckDBPyConnection) -> None:
    """Close the file; everything is in it then."""
    connection.execute("USE memory")
    connection.execute("DETACH fresh")
    connection.execute("DETACH held")


def _copy(connection: duckdb.DuckDBPyConnection, path: str) -> int:
    """All rows of one table; how many. Raises ViewCorrupt if it is not all of them."""
    [(count, last)] = connection.execute(f"SELECT count(*), max(rowid) FROM held.{path}").fetchall()
    for first in range(0, 0 if last is None else last + 1, ROWS_AT_ONCE):
        connection.execute(
            f"INSERT INTO fresh.{path} SELECT * FROM held.{path}"
            f" WHERE rowid >= {first} AND rowid < {first + ROWS_AT_ONCE}"
        )
    [(found,)] = connection.execute(f"SELECT count(*) FROM fresh.{path}").fetchall()
    if found != count:
        raise ViewCorrupt(f"{found} of {count} rows of {path} were copied")
    return int(found)


def main(arguments: list[str]) -> int:
    """Rewrite the file, or print in one line why not; ends with its parent."""
    end_with_parent()
    os.nice(NICE)
    source, mark, target, megabytes = arguments
    try:
        rewritten(Path(source), mark, Path(target), int(megabytes))
    except (PypistreamError, OSError) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
