"""Hashes of a published DuckDB file's rows, and of those that the log's records should give.

Both are hashed by the same DuckDB, so the hash function may differ between versions.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from schemas.errors import LogCorrupt, ViewCorrupt
from schemas.records import Config
from sinks import notes
from sinks.duckdb import memo
from sinks.duckdb.errors import meaning
from sinks.duckdb.rows import staged
from sinks.duckdb.schema import PROJECT, RELEASES, STATE, UNREADABLE, VIEW_FORMAT, Table
from sinks.duckdb.snapshot import open_snapshot
from sinks.sink import Vector
from streams.log import Record

MEMORY_LIMIT = "1GB"  # enough to sort three hashes per name; nothing is spilled
ROWS_PER_FETCH = 10_000
COMPARED = (PROJECT, RELEASES, STATE)
REFUSED = (duckdb.DataError, duckdb.InvalidInputException)  # what is in a row, not the file

RowHashes = Mapping[str, int | None]
"""By table: what the row hashes to, None = there is to be no row."""


class SnapshotRow(NamedTuple):
    """`table` is `project`, `releases_of`, `state`, or `unreadable`, whose hash means nothing."""

    name: str
    table: str
    hash: int


class SnapshotFacts:
    """An open published file. Made by `snapshot_facts`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        """Raise ViewCorrupt for a file of another version, or without a cut."""
        self._connection = connection
        self._path = path
        self.vector = self._told()
        for table in COMPARED:
            connection.execute(f"CREATE TEMP TABLE {table.stage}(place BIGINT, doc VARCHAR)")

    def rows(self) -> Iterator[SnapshotRow]:
        """Hashes of all rows, by name. Raises ViewCorrupt, StorageFailed."""
        hashed = (
            f"SELECT name, '{table.name}', hash({_struct(table)}) FROM {table.path}"
            for table in COMPARED
        )
        noted = f"SELECT name, '{UNREADABLE.name}', hash(1) FROM {UNREADABLE.path}"
        try:
            cursor = self._connection.cursor()
            cursor.execute(" UNION ALL ".join((*hashed, noted)) + " ORDER BY 1")
            while rows := cursor.fetchmany(ROWS_PER_FETCH):
                yield from map(SnapshotRow._make, rows)
        except duckdb.Error as error:
            raise meaning(error, self._path) from error

    def hashes(self, records: Sequence[Record], config: Config) -> list[RowHashes]:
        """The hashes of the rows that each record should give.

        Raises ViewCorrupt, StorageFailed.
        """
        found: list[dict[str, int | None]] = []
        texts: dict[Table, list[tuple[int, str]]] = {table: [] for table in COMPARED}
        for place, record in enumerate(records):
            keyed = staged([record], config).keyed
            found.append({})
            for table in COMPARED:
                for text in keyed[table].values():
                    found[place][table.name] = None
                    if text is not None:
                        texts[table].append((place, text.decode()))
        for table, rows in texts.items():
            for place, value in self._hashed(table, rows):
                found[place][table.name] = value
        return list(found)

    def _hashed(self, table: Table, rows: Sequence[tuple[int, str]]) -> Iterator[tuple[int, int]]:
        if not rows:
            return
        try:
            yield from self._at_once(table, rows)
        except duckdb.Error as error:
            if len(rows) > 1:
                for row in rows:
                    yield from self._hashed(table, [row])
            elif not isinstance(error, REFUSED):
                raise meaning(error, self._path) from error
            # otherwise DuckDB refused the sink's row, too: there must be none

    def _at_once(self, table: Table, rows: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
        self._connection.execute(f"DELETE FROM {table.stage}")
        with self._connection.appender(table.stage) as stage:
            stage.append_rows(rows)
        return self._connection.execute(
            f"SELECT place, hash(from_json(doc, '{table.structure}')) FROM {table.stage}"
        ).fetchall()

    def _told(self) -> Vector:
        try:
            written = memo.recall(self._connection, memo.FORMAT)
            cut = memo.recall(self._connection, memo.CUT)
        except duckdb.Error as error:
            raise meaning(error, self._path) from error
        if written != str(VIEW_FORMAT) or cut is None:
            raise ViewCorrupt(
                f"{self._path} has format {written}, this version {VIEW_FORMAT}",
                hint="pypistream rebuild duckdb",
            )
        try:
            return notes.vector_of(cut)
        except LogCorrupt as error:
            raise ViewCorrupt(f"{self._path}: {error}", hint="pypistream rebuild duckdb") from error


@contextmanager
def snapshot_facts(path: Path) -> Iterator[SnapshotFacts]:
    """The published file as it is now, for as long as the context lasts.

    Raises NotPublished, ViewCorrupt, StorageFailed.
    """
    with open_snapshot(path, memory_limit=MEMORY_LIMIT) as connection:
        yield SnapshotFacts(connection, path)


def _struct(table: Table) -> str:
    """The row as `from_json` makes it, without its key."""
    fields = ", ".join(f"'{name}': \"{name}\"" for name in table.columns)
    return f"{{{fields}}}"
