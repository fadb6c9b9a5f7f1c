"""The published DuckDB file: written aside, renamed, and opened by readers who may only read.

The live file is locked against every other process while its sink runs, so readers get a copy.
`sinks.duckdb.copying` makes the copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from schemas.errors import NotPublished
from sinks.duckdb.errors import meaning
from sinks.duckdb.schema import FEW_ROW_GROUP_ROWS, ROW_GROUP_ROWS

STORAGE_VERSION = "v1.2.0"  # no DuckDB 1.x reads what DuckDB 2 writes by default
# How a file is opened: to be filled by many rows at once, or to take in a few at a time.
FILLING = f"STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
FOLLOWING = f"STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {FEW_ROW_GROUP_ROWS}"
THREADS = 1  # two cores are shared with fetching; a second thread gains 10 % and costs memory
# For texts. Trying dictionaries first takes a quarter of a commit and makes no smaller file.
COMPRESSION = "fsst"
SNAPSHOT_FILE = "pypi.duckdb"

UTC = "SET TimeZone = 'UTC'"  # in which times are read and shown, wherever the machine is
LOCKED_DOWN = (
    UTC,
    "SET enable_external_access = false",  # no files, no network, no extensions
    "SET lock_configuration = true",
)
Config = dict[str, str | bool | int | float | list[str]]
READER_CONFIG: Config = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",  # a table's name must not reach a Python variable
    "temp_directory": "",  # spilling would write files, too
}


def writer_config(memory_mb: int, spill: Path) -> Config:
    """The configuration of a writer; `spill`: a directory for what does not fit into memory."""
    return {
        "memory_limit": f"{memory_mb}MB",
        "threads": str(THREADS),
        "temp_directory": str(spill),
        "preserve_insertion_order": "false",  # insertion order costs memory, and nobody needs it
        "autoinstall_known_extensions": "false",
        "force_compression": COMPRESSION,
    }


def wal_of(path: Path) -> Path:
    """The write-ahead log of a DuckDB file."""
    return path.with_name(path.name + ".wal")


def wal_bytes(path: Path) -> int:
    """Its length, 0 if there is none."""
    wal = wal_of(path)
    return wal.stat().st_size if wal.exists() else 0


@contextmanager
def open_snapshot(
    path: Path, *, memory_limit: str, writable: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a published file for reading, locked down; `writable`: the one file it may write.

    Raises NotPublished if there is none, ViewCorrupt, StorageFailed.
    """
    if not path.is_file():
        raise NotPublished(
            f"there is no snapshot at {path} yet",
            hint="`pypistream run` publishes one within a minute; or give another --data",
        )
    config: Config = {**READER_CONFIG, "memory_limit": memory_limit}
    try:
        connection = duckdb.connect(str(path), read_only=True, config=config)
    except duckdb.Error as error:
        raise meaning(error, path) from error
    with closing(connection):
        if writable is not None:
            connection.execute("SET allowed_paths = ?", [[str(writable)]])
        for statement in LOCKED_DOWN:
            connection.execute(statement)
        yield connection
