"""What the DuckDB view keeps of removed projects: the last row of each, or a part of it.

A tombstone has no body, and the log's older records are compacted away. So a row is moved aside
before it is deleted. A rebuilt view takes over what the published file had kept; what neither that
file nor the log has is lost, and the public view says so (`held`).
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import structlog

from schemas.errors import PypistreamError
from sinks.duckdb.errors import first_line
from sinks.duckdb.schema import (
    PACKED,
    PROJECT,
    RELEASES,
    REMOVED_OF,
    SCHEMA,
    STATE,
    Table,
    delete_staged,
    insert_statements,
)
from sinks.duckdb.snapshot import open_snapshot
from sinks.release_rows import SEPARATOR
from sinks.removed import ALL, HASHES, NONE

MEMORY_LIMIT = "256MB"  # to read a published file beside the live one
ROWS_PER_FETCH = 1_000  # of lists of files, as texts

_HASHES_OF = {
    PROJECT: ("version", "serial"),
    RELEASES: ("latest", "serial", "version", "filename", "sha256"),
}
Lost = Mapping[Table, Mapping[str, bytes | None]]
log_ = structlog.get_logger("sinks.duckdb")


def kept_columns(table: Table, keep: str) -> tuple[str, ...]:
    """The columns that are kept of `table`, one of REMOVED_OF, besides its name."""
    return {NONE: (), HASHES: _HASHES_OF[table], ALL: tuple(table.columns)}[keep]


def staged_rows(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    texts: Iterable[tuple[str, bytes | None]],
) -> None:
    """Put texts into the table's stage."""
    with connection.appender(table.stage) as stage:
        stage.append_rows((key, None if text is None else text.decode()) for key, text in texts)


def keep_lost(connection: duckdb.DuckDBPyConnection, lost: Lost, keep: str) -> None:
    """Move aside what is about to be deleted, within the caller's transaction."""
    if keep == NONE:
        return
    for table, texts in lost.items():
        columns = kept_columns(table, keep)
        had = [key for key, text in texts.items() if text is None]
        told = [(key, text) for key, text in texts.items() if text is not None]
        if had:
            _move(connection, table, columns, had)
        if told:
            staged_rows(connection, REMOVED_OF[table], told)
            _insert(connection, table, columns)


def _move(
    connection: duckdb.DuckDBPyConnection, table: Table, columns: Sequence[str], keys: list[str]
) -> None:
    """Move the rows that `table` still has; for others, what was kept before stays."""
    removed = REMOVED_OF[table]
    names = ", ".join(f'"{column}"' for column in columns)
    here = f"FROM {table.path} WHERE name IN (SELECT unnest(?::VARCHAR[]))"
    connection.execute(f"DELETE FROM {removed.path} WHERE name IN (SELECT name {here})", [keys])
    connection.execute(
        f"INSERT INTO {removed.path}(name, {names}) SELECT name, {names} {here}", [keys]
    )


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, columns: Sequence[str]) -> None:
    """Replace what is kept by the rows in the stage."""
    removed = REMOVED_OF[table]
    part = replace(removed, columns={name: table.columns[name] for name in columns})
    connection.execute(delete_staged(removed))
    for statement in insert_statements(part):
        connection.execute(statement)


def cut_down(connection: duckdb.DuckDBPyConnection, keep: str) -> None:
    """Delete what is no longer to be kept, within the caller's transaction."""
    for table, removed in REMOVED_OF.items():
        kept = kept_columns(table, keep)
        if not kept:
            connection.execute(f"DELETE FROM {removed.path}")
            continue
        less = ", ".join(f'"{column}" = NULL' for column in removed.columns if column not in kept)
        if less:
            connection.execute(f"UPDATE {removed.path} SET {less}")


def carry_over(
    connection: duckdb.DuckDBPyConnection, published: Path, log_id: str, keep: str
) -> None:
    """Take over, from a published file of the same log, the removed projects that this view lacks.

    Within the caller's transaction. A file that cannot be read is ignored.
    """
    wanted = {table: _unseen(connection, table) for table in REMOVED_OF}
    if keep == NONE or not published.is_file() or not any(wanted.values()):
        return
    try:
        with open_snapshot(published, memory_limit=MEMORY_LIMIT) as before:
            told = before.execute(f"SELECT log_id FROM {SCHEMA}.progress").fetchall()
            if told != [(log_id,)]:
                return
            for table, names in wanted.items():
                for source in (REMOVED_OF[table], table):
                    _carry(connection, before, (source, table), names, keep)
    except (duckdb.Error, PypistreamError) as error:
        why = first_line(error) if isinstance(error, duckdb.Error) else str(error)
        log_.warning("what was kept of removed projects could not be read", error=why)


def _unseen(connection: duckdb.DuckDBPyConnection, table: Table) -> list[str]:
    """The removed names without a last row."""
    rows = connection.execute(
        f"SELECT s.name FROM {STATE.path} AS s WHERE s.gone > 0"
        f" AND NOT EXISTS (FROM {REMOVED_OF[table].path} AS r WHERE r.name = s.name)"
        f" AND NOT EXISTS (FROM {table.path} AS t WHERE t.name = s.name)"
    ).fetchall()
    return [name for (name,) in rows]


def _carry(
    connection: duckdb.DuckDBPyConnection,
    before: duckdb.DuckDBPyConnection,
    tables: tuple[Table, Table],
    names: Sequence[str],
    keep: str,
) -> None:
    """Copy what `source` of the file `before` has of these names, in the columns that it has."""
    source, table = tables
    found = before.execute(
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE schema_name = ? AND table_name = ?",
        [SCHEMA, source.name],
    ).fetchall()
    known = dict(found)
    columns = [column for column in kept_columns(table, keep) if column in known]
    if not columns:
        return
    fields = ", ".join(
        f"'{column}': {_as_now(column, known[column], table.columns[column])}" for column in columns
    )
    rows = before.execute(
        f"SELECT name, to_json({{{fields}}})::VARCHAR FROM {source.path}"
        " WHERE name IN (SELECT unnest(?::VARCHAR[]))",
        [list(names)],
    )
    while piece := rows.fetchmany(ROWS_PER_FETCH):
        staged_rows(connection, REMOVED_OF[table], ((name, text.encode()) for name, text in piece))
        _insert(connection, table, columns)


def _as_now(column: str, kind: str, wanted: str) -> str:
    """SQL for a column of an older file: what is packed now was a list until format 10."""
    if wanted != PACKED or not kind.endswith("[]"):
        return f'"{column}"'
    texts = f"[coalesce(each, '') FOR each IN \"{column}\"]"
    return f"nullif(array_to_string({texts}, chr({ord(SEPARATOR)})), '')"
