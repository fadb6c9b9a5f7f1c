"""Reads what only a dump's tables hold: the journal, and removed projects.

It is for loading a dump into a log (`pypistream bootstrap`). Files are read piece by piece, in the
order in which they were written. They come from elsewhere: their length and SHA-256 were verified,
but a table without our columns, with other types or out of order is DumpCorrupt.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, or quoted

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb

from schemas.codec import rfc3339
from schemas.errors import DumpCorrupt, StorageFailed
from schemas.records import SERIAL_MAX, ChangelogEntry, EventSource, Kind
from sinks.duckdb.errors import first_line
from sinks.duckdb.literals import literal
from sinks.duckdb.snapshot import UTC, Config
from sinks.exported import CHANGELOG_FILE, REMOVED_FILE, REMOVED_FILES_FILE
from sinks.removed import HeldFiles, HeldProject, Removed

MEMORY_LIMIT = "256MB"  # for DuckDB, which reads a row group of a table at a time
ROWS_PER_FETCH = 2_000  # of a table: a few hundred KB
HELD_FILES_MAX = 50_000  # of one project, some 8 MB: more than any record has room for

_KINDS = {kind.value: kind for kind in Kind}
_SOURCES = {source.value: source for source in EventSource}


def journal(folder: Path, since: int, reached: int) -> Iterator[tuple[ChangelogEntry, bool]]:
    """The rows in (since, reached] by serial, and whether each was `late` there.

    Raises DumpCorrupt, StorageFailed.
    """
    last = since
    for found in _rows(
        folder / CHANGELOG_FILE,
        "serial::BIGINT, display_name::VARCHAR, version::VARCHAR,"
        " epoch(time::TIMESTAMPTZ)::BIGINT, action::VARCHAR, kind::VARCHAR, source::VARCHAR,"
        " late::BOOLEAN",
        f"serial > {since} AND serial <= {reached}",
    ):
        serial, name, version, time, action, kind, source, late = found
        if serial < last:
            raise DumpCorrupt(f"{CHANGELOG_FILE} is not in the order of its serials at {serial}")
        last = serial
        entry = ChangelogEntry(
            serial,
            name or "",
            version,
            time or 0,
            action or "",
            _KINDS.get(kind, Kind.CHANGE),
            _SOURCES.get(source, EventSource.JOURNAL),
        )
        yield entry, bool(late)


def removed(folder: Path) -> Iterator[Removed]:
    """The removed projects, in the order of the names. Raises DumpCorrupt, StorageFailed."""
    files = groupby(
        _rows(
            folder / REMOVED_FILES_FILE,
            "name::VARCHAR, version::VARCHAR, filename::VARCHAR, sha256::VARCHAR",
        ),
        key=itemgetter(0),
    )
    ahead = next(files, None)
    before = ""
    for found in _rows(
        folder / REMOVED_FILE,
        "name::VARCHAR, reason::VARCHAR, serial::BIGINT, epoch_ms(time::TIMESTAMPTZ)::BIGINT,"
        " version::VARCHAR, last_serial::BIGINT, held::BOOLEAN, filenames IS NOT NULL",
    ):
        name, reason, serial, time_ms, version, last_serial, held, listed = found
        if not name or name <= before:
            raise DumpCorrupt(f"{REMOVED_FILE} is not in the order of its names at {name!r:.80}")
        before = name
        mine: list[Sequence[Any]] = []
        if ahead is not None and ahead[0] == name:
            mine = [row for row, _ in zip(ahead[1], range(HELD_FILES_MAX), strict=False)]
            ahead = next(files, None)
        last = _serial(last_serial)
        yield Removed(
            name,
            reason,
            _serial(serial),
            HeldProject(
                None if time_ms is None else rfc3339(time_ms / 1000), bool(held), version, last
            ),
            HeldFiles(
                version,
                last,
                tuple(row[1] for row in mine),
                tuple(row[2] for row in mine),
                tuple(row[3] for row in mine),
            )
            if listed
            else None,
        )
    if ahead is not None:
        raise DumpCorrupt(f"{REMOVED_FILES_FILE} has files of {ahead[0]!r:.80}, which is not gone")


def _serial(number: int | None) -> int | None:
    return number if number is not None and 0 <= number <= SERIAL_MAX else None


def _rows(path: Path, columns: str, where: str = "true") -> Iterator[tuple[Any, ...]]:
    """The rows of a Parquet file, in its order. Raises DumpCorrupt, StorageFailed."""
    settings: Config = {
        "memory_limit": MEMORY_LIMIT,
        "threads": "1",  # several threads would return them in another order
        "preserve_insertion_order": "true",
        "temp_directory": "",
        "autoinstall_known_extensions": "false",
    }
    try:
        with closing(duckdb.connect(config=settings)) as connection:
            connection.execute(UTC)
            found = connection.execute(
                f"SELECT {columns} FROM read_parquet({literal(path)}) WHERE {where}"
            )
            while piece := found.fetchmany(ROWS_PER_FETCH):
                yield from piece
    except duckdb.OutOfMemoryException as error:
        raise StorageFailed(f"{path} needs more memory: {first_line(error)}") from error
    except duckdb.Error as error:
        raise DumpCorrupt(
            f"{path.name} cannot be read: {first_line(error)}", hint="download the dump again"
        ) from error
