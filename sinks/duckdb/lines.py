"""Many rows as lines of JSON in a file of a moment: how a batch comes in that was made elsewhere.

DuckDB takes them in at two thirds of what the same texts in a temporary table cost, and Python
makes no text of each. A few rows are in sooner without a file.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import duckdb
import msgspec

from schemas.codec import encode
from sinks.duckdb.literals import literal
from sinks.duckdb.schema import Table
from sinks.durable import discard, storage

READ_BYTES_MIN = 1024 * 1024  # at once; DuckDB takes twice the longest line, or of this


class Lines(msgspec.Struct, array_like=True):
    """Rows of a table, their key among them; `longest` in bytes."""

    text: memoryview
    longest: int


def lines_of(table: Table, rows: Iterable[tuple[str, bytes | None]]) -> Lines | None:
    """Of all rows that have a text, None if there is none."""
    begin = f'{{"{table.key}":'.encode()
    whole, longest = bytearray(), 0
    for key, text in rows:
        if text is not None:
            line = b"%b%b,%b\n" % (begin, encode(key), text[1:]) if table.key else text + b"\n"
            whole += line
            longest = max(longest, len(line))
    return Lines(memoryview(whole), longest) if whole else None


@contextlib.contextmanager
def in_files(lines: Mapping[Table, Lines], directory: Path) -> Iterator[Mapping[Table, Path]]:
    """Files of these lines, until the end of the block. Raises DiskFull or StorageFailed."""
    paths = {table: directory / f"{table.name}.jsonl" for table in lines}
    try:
        for table, path in paths.items():
            with storage(path):
                path.write_bytes(lines[table].text)
        yield paths
    finally:
        discard(*paths.values())


def insert(connection: duckdb.DuckDBPyConnection, table: Table, path: Path, longest: int) -> None:
    """Add the rows of such a file."""
    kinds = {**({table.key: "VARCHAR"} if table.key else {}), **table.columns}
    names = ", ".join(f'"{name}"' for name in kinds)
    columns = ", ".join(f'"{name}": {literal(kind)}' for name, kind in kinds.items())
    connection.execute(
        f"INSERT INTO {table.path}({names}) SELECT {names} FROM read_json({literal(path)},"
        f" format = 'newline_delimited', columns = {{{columns}}},"
        f" maximum_object_size = {max(longest, READ_BYTES_MIN)})"
    )
