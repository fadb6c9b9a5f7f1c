"""The messages from the process that exports the DuckDB file's tables to its parent."""

from __future__ import annotations

import msgspec

from schemas.records import Cut

DUCKDB_FILE, PARQUET = "pypi.duckdb", ".parquet"
CHANGELOG_FILE = f"changelog{PARQUET}"
REMOVED_FILE, REMOVED_FILES_FILE = f"removed{PARQUET}", f"removed_files{PARQUET}"
CARRIED_FILES = (CHANGELOG_FILE, REMOVED_FILE, REMOVED_FILES_FILE)
"""What they say is in no other file of a dump: whoever loads that into a log takes it from them."""


class TableFile(msgspec.Struct, frozen=True):
    """A finished file, as in a manifest. `rows` of the DuckDB file are its projects."""

    bytes: int
    sha256: str
    rows: int


class Stood(msgspec.Struct, frozen=True):
    """The cut of the DuckDB file: see `sinks.sink.Vector`, `schemas.manifest.Tables`."""

    log_id: str
    cuts: tuple[Cut | None, ...]
    history_since: int | None = None


class Told(msgspec.Struct, frozen=True):
    """The exporting process's message on stdout. With an `error` the rest is empty."""

    files: dict[str, TableFile] = {}
    stood: Stood | None = None
    error: str = ""
