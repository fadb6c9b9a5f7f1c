"""Rows as lines of JSON in a file, in which another process passes a batch to the sink.

The process that makes the rows writes the file, the one that takes them in removes it. Reading it
costs DuckDB two thirds of what the same texts in a temporary table do, and in the sink's process no
byte of them passes through Python. For a few rows it is quicker without a file.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from schemas.codec import encode
from sinks.duckdb.literals import literal
from sinks.duckdb.schema import Table
from sinks.durable import discard, storage

if TYPE_CHECKING:
    import duckdb  # not loaded by a process that only writes: 0.1 s, 20 MB

READ_BYTES_MIN = 1024 * 1024  # read at once; DuckDB takes twice this, or twice the longest line


class Lines(msgspec.Struct, array_like=True):
    """A file with rows of a table, their key among them; `longest` in bytes."""

    path: str
    longest: int


class Pen:
    """Writes a table's lines into one file after another, named by `stem` and a number."""

    def __init__(self, table: Table, stem: Path) -> None:
        self.bytes = 0  # of the file that is being written
        self._table = table
        self._stem = stem
        self._longest = 0
        self._files = 0

    def write(self, rows: Iterable[tuple[str, bytes | None]]) -> None:
        """Append the rows that have a text. Raises DiskFull or StorageFailed."""
        key = self._table.key
        begin = f'{{"{key}":'.encode()
        lines = [
            b"%b%b,%b\n" % (begin, encode(name), text[1:]) if key else text + b"\n"
            for name, text in rows
            if text is not None
        ]
        if not lines:
            return
        self._longest = max(self._longest, *map(len, lines))
        with storage(self._path), self._path.open("ab" if self.bytes else "wb") as file:
            for line in lines:  # buffered: joined they would be in memory twice
                file.write(line)
            self.bytes = file.tell()

    def file(self) -> Lines | None:
        """The file written so far, None if there is none; later rows go into another one."""
        if not self.bytes:
            return None
        made = Lines(str(self._path), self._longest)
        self._files += 1
        self.bytes = self._longest = 0
        return made

    @property
    def _path(self) -> Path:
        return self._stem.with_name(f"{self._stem.name}-{self._files}.jsonl")


def remove(lines: Mapping[Table, Lines]) -> None:
    """Remove files that have been taken in, or never will be."""
    discard(*(Path(each.path) for each in lines.values()))


def insert(connection: duckdb.DuckDBPyConnection, table: Table, lines: Lines) -> None:
    """Add the rows of such a file. Raises duckdb.ConstraintException for a key that is there."""
    kinds = {**({table.key: "VARCHAR"} if table.key else {}), **table.types}
    names = ", ".join(f'"{name}"' for name in kinds)
    connection.execute(
        f"INSERT INTO {table.path}({names}) SELECT {names} FROM {_source(lines, kinds)}"
    )


def delete(connection: duckdb.DuckDBPyConnection, table: Table, lines: Lines) -> None:
    """Delete the rows that have the keys of such a file: a scan of all keys of the table."""
    keys = f"SELECT {table.key} FROM {_source(lines, {table.key: 'VARCHAR'})}"
    connection.execute(f"DELETE FROM {table.path} WHERE {table.key} IN ({keys})")


def _source(lines: Lines, kinds: Mapping[str, str]) -> str:
    columns = ", ".join(f'"{name}": {literal(kind)}' for name, kind in kinds.items())
    return (
        f"read_json({literal(lines.path)}, format = 'newline_delimited', columns = {{{columns}}},"
        f" maximum_object_size = {max(lines.longest, READ_BYTES_MIN)})"
    )
