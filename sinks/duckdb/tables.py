"""Exports the published DuckDB file as Parquet files: `python -m sinks.duckdb.tables`.

The same rows give the same bytes, because they are written in the order of the names, by one
thread. DuckDB can scan and write, but not sort, more than fits into memory: so the tables behind
the public views are read in ranges of names, each small enough to be sorted, and the views are
computed on these pieces one after the other. That takes a scan of the file per piece.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, or quoted

from __future__ import annotations

import hashlib
import shutil
import sys
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import duckdb
import msgspec

from schemas.errors import PypistreamError, ViewCorrupt
from sinks import notes
from sinks.duckdb import memo
from sinks.duckdb.comments import MEMO
from sinks.duckdb.errors import meaning
from sinks.duckdb.literals import literal
from sinks.duckdb.parent import end_with_parent
from sinks.duckdb.public import PROJECTS
from sinks.duckdb.schema import PROGRESS as PROGRESS_TABLE
from sinks.duckdb.schema import SCHEMA, TABLES, VIEW_FORMAT, Table
from sinks.duckdb.status import VIEWS, view_statements
from sinks.durable import storage, sync_directory, sync_file
from sinks.exported import DUCKDB_FILE, PARQUET, Stood, TableFile, Told

MEMORY_LIMIT = "512MB"  # for DuckDB; the process takes 100 MB more
PIECE_BYTES = 96 * 1024 * 1024  # of a table, as text: sorted at once, with memory to spare
SAMPLE_ROWS = 20_000  # sampled keys by which pieces are cut: their sizes differ by a few percent
ROW_BYTES, ELEMENT_BYTES = 200, 24  # roughly, of a row and of an element of a list in it
ROW_GROUP_ROWS = 61_440  # a reader of one name reads one of these per column
PIECES_MAX = 200  # each is read and written separately: more would cost more than they save
READ_BYTES = 1024 * 1024
READ_ONLY = 0o444

NO_TABLES = {"progress", "latest", "wheel_tags", "releases_per_month", "owners_history"}
"""Views that are made of others, and the one that is of this log alone."""
SMALL = {"anomalies", "removed", "exceptions"}
"""Their rows are few enough to be sorted as they are."""
EXPORTED = tuple(view.name for view in VIEWS if view.name not in NO_TABLES)

T = TypeVar("T")


def export(snapshot: Path, folder: Path) -> Told:
    """Write every table into the existing `folder`; needs as much space again meanwhile.

    Raises ViewCorrupt (also for a file of another version), DiskFull, StorageFailed.
    """
    work = folder / "pieces"
    with storage(folder):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
    try:
        with closing(_opened(snapshot, work)) as connection:
            stood = _stood(connection, snapshot)
            connection.execute("USE memory")
            connection.execute(f"CREATE SCHEMA {SCHEMA}")
            for table in TABLES:
                parts = _sorted(connection, table, work)
                source = f"read_parquet([{', '.join(map(literal, parts))}])"
                connection.execute(f"CREATE VIEW {table.path} AS SELECT * FROM {source}")
            for name in (PROGRESS_TABLE.name, MEMO):
                path = f"{SCHEMA}.{name}"
                connection.execute(f"CREATE VIEW {path} AS SELECT * FROM held.{path}")
            for statement in view_statements():
                connection.execute(statement)
            files = {name: _written(connection, name, folder) for name in EXPORTED}
    except duckdb.Error as error:
        raise meaning(error, snapshot) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    with storage(folder):
        sync_directory(folder)
        held = described(snapshot, files[PROJECTS.name].rows)
    tables = {f"{name}{PARQUET}": file for name, file in files.items()}
    return Told({**tables, DUCKDB_FILE: held}, stood)


def _opened(snapshot: Path, work: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "memory_limit": MEMORY_LIMIT,
            "threads": "1",  # several threads would write in the order in which they finish
            "preserve_insertion_order": "true",
            "temp_directory": str(work / "spill"),
            "autoinstall_known_extensions": "false",
            # A join keeps the order of its left side, unless the optimizer swaps the sides.
            "disabled_optimizers": "build_side_probe_side",
        }
    )
    try:
        connection.execute(f"ATTACH {literal(snapshot)} AS held (READ_ONLY)")
        connection.execute("USE held")
    except BaseException:
        connection.close()
        raise
    return connection


def _stood(connection: duckdb.DuckDBPyConnection, snapshot: Path) -> Stood:
    """The cut of the file. Raises ViewCorrupt for a file of another format."""
    written = memo.recall(connection, memo.FORMAT)
    cut = memo.recall(connection, memo.CUT)
    if written != str(VIEW_FORMAT) or cut is None:
        raise ViewCorrupt(f"{snapshot} has format {written}, this version {VIEW_FORMAT}")
    [(since,)] = connection.execute(f"SELECT history_since FROM {PROGRESS_TABLE.path}").fetchall()
    return Stood(*notes.vector_of(cut), since)


def _sorted(connection: duckdb.DuckDBPyConnection, table: Table, work: Path) -> list[Path]:
    """Write the table's rows, sorted by its key (or all columns), into one file after the other."""
    key = table.key or next(iter(table.columns))
    bounds = _bounds(connection, table, key)
    lows = ("true", *(f"{key} >= {literal(bound)}" for bound in bounds))
    highs = (*(f"{key} < {literal(bound)}" for bound in bounds), "true")
    pieces = []
    for number, (low, high) in enumerate(zip(lows, highs, strict=True)):
        rows = f"held.{table.path} WHERE {low} AND {high}"
        order = table.key or "ALL"
        pieces.append(_piece(connection, rows, order, work / f"{table.name}-{number}{PARQUET}"))
    return pieces


def _piece(connection: duckdb.DuckDBPyConnection, source: str, order: str, target: Path) -> Path:
    connection.execute(
        f"COPY (SELECT * FROM {source} ORDER BY {order}) TO {literal(target)}"
        " (FORMAT parquet, COMPRESSION lz4_raw, ROW_GROUP_SIZE 2048)"
    )
    return target


def _bounds(connection: duckdb.DuckDBPyConnection, table: Table, key: str) -> list[object]:
    """The keys at which pieces of about PIECE_BYTES begin, except the first."""
    lists = [name for name, kind in table.columns.items() if kind.endswith("[]")]
    elements = " + ".join(f'coalesce(len("{name}"), 0)' for name in lists) or "0"
    path = f"held.{table.path}"
    rows = connection.execute(f"SELECT count(*) FROM {path}").fetchall()[0][0]
    sample = connection.execute(  # DuckDB's own sampling (USING SAMPLE) holds whole rows in memory
        f"SELECT {key}, {ROW_BYTES} + {ELEMENT_BYTES} * ({elements}) FROM {path}"
        f" WHERE hash({key}) % {max(1, rows // SAMPLE_ROWS)} = 0"
    ).fetchall()
    return cuts(sorted(sample), rows / max(1, len(sample)), PIECE_BYTES, PIECES_MAX)


def cuts(sample: Sequence[tuple[T, int]], factor: float, piece: int, pieces_max: int) -> list[T]:
    """The keys to cut at so that each piece weighs about `piece`. `sample`: keys with weights.

    Pure.

    Each sample stands for `factor` keys. The pieces are larger if there would be too many.
    """
    ends = list(accumulate(weight * factor for _, weight in sample))
    count = min(pieces_max, int(ends[-1] // piece) + 1) if ends else 1
    found = (sample[bisect_right(ends, ends[-1] * n / count)][0] for n in range(1, count))
    return list(dict.fromkeys(found))


def _written(connection: duckdb.DuckDBPyConnection, name: str, folder: Path) -> TableFile:
    target = folder / f"{name}{PARQUET}"
    order = " ORDER BY ALL" if name in SMALL else ""
    connection.execute(
        f"COPY (SELECT * FROM {name}{order}) TO {literal(target)}"
        f" (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
    )
    counted = f"SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata({literal(target)})"
    rows = connection.execute(counted).fetchall()[0][0]
    with storage(target):
        target.chmod(READ_ONLY)
        return described(target, rows)


def described(path: Path, rows: int) -> TableFile:
    """Describe a finished file, and wait until it is on the disk."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        sync_file(file)
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            size += len(piece)
    return TableFile(size, digest.hexdigest(), rows)


def main(arguments: list[str]) -> int:
    """Export, and print on stdout what was written, or why not; ends with its parent."""
    end_with_parent()
    try:
        told = export(Path(arguments[0]), Path(arguments[1]))
    except PypistreamError as error:
        told = Told(error=f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
