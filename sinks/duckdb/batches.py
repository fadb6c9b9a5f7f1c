"""Writes a batch into the tables: staged as texts, read by DuckDB, merged in one transaction."""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import duckdb

from sinks.duckdb import lines
from sinks.duckdb.errors import first_line
from sinks.duckdb.removed import keep_lost, staged_rows
from sinks.duckdb.rows import refuse, refuse_entry
from sinks.duckdb.schema import (
    CHANGELOG,
    KEYED,
    REMOVED_OF,
    TABLES,
    Table,
    delete_named,
    delete_staged,
    insert_given,
    insert_statements,
)
from sinks.duckdb.staged import Staged, folded

Lengths = dict[str, int]
"""The most rows that each table may have, by its name; 0 is exact."""

# 2 to 4 ms at full size. To ask DuckDB's catalog what it estimates takes as long.
_LENGTHS = " UNION ALL ".join(f"SELECT '{each.name}', count(*) FROM {each.path}" for each in TABLES)
# A key that is named in the statement costs as much as scanning the keys of this many rows.
ROWS_A_KEY = 600
# A statement that deletes rows by their keys keeps their blocks in memory until it ends: for 1 000
# rows of a file of all of PyPI 425 MiB were too few.
NAMES_AT_ONCE = 200
# Up to this many rows of a table are passed as a statement's parameters: going through a stage
# costs 1 ms more, however few rows there are.
FEW_ROWS = 100

ROW_REFUSED = (duckdb.DataError, duckdb.InvalidInputException)
"""Errors about what is in a row, not about the file."""


def lengths_of(connection: duckdb.DuckDBPyConnection) -> Lengths:
    """To be asked when a file is opened; `write` goes on from there."""
    return dict(connection.execute(_LENGTHS).fetchall())


def write(
    connection: duckdb.DuckDBPyConnection,
    rows: Staged,
    keep: str,
    lengths: Lengths,
    also: Callable[[], None],
) -> None:
    """One transaction: the rows, and what `also` does. May call that twice.

    `keep` is one of KEEP_REMOVED. `lengths` grow with what is added.
    """
    try:
        _write(connection, rows, keep, lengths, also, new=True)
    except duckdb.ConstraintException:
        if not rows.lines:
            raise
        connection.rollback()
        _write(connection, rows, keep, lengths, also, new=False)


def _write(
    connection: duckdb.DuckDBPyConnection,
    rows: Staged,
    keep: str,
    lengths: Lengths,
    also: Callable[[], None],
    *,
    new: bool,
) -> None:
    """Try the transaction once.

    `new`: assume that no key of `rows.lines` is in its table yet, which nearly always holds when a
    log is read from its beginning; raises duckdb.ConstraintException if it does not.
    """
    connection.begin()
    for table in REMOVED_OF.values():  # a project that is back is not removed
        _put(connection, table, rows.keyed[table], lengths)
    keep_lost(connection, rows.lost, keep)  # before it is deleted
    for table, lost in rows.lost.items():
        lengths[REMOVED_OF[table].name] += len(lost)
    for table in KEYED:
        _put(connection, table, rows.keyed[table], lengths)
    if len(rows.added) <= FEW_ROWS:
        _insert_few(connection, CHANGELOG, rows.added)
    else:
        staged_rows(connection, CHANGELOG, rows.added)
        _insert(connection, CHANGELOG)
    for table, file in rows.lines.items():
        if table.key and not new:
            lines.delete(connection, table, file)
        lines.insert(connection, table, file)
    also()
    found = lengths_of(connection) if rows.lines else {}
    connection.commit()
    lengths.update(found)


def _put(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    texts: Mapping[str, bytes | None],
    lengths: Lengths,
) -> None:
    """Replace the rows with these keys."""
    held = lengths[table.name]
    lengths[table.name] += len(texts) - list(texts.values()).count(None)
    if len(texts) <= FEW_ROWS:
        if texts and held:
            connection.execute(delete_named(table), [list(texts)])
        _insert_few(connection, table, texts.items())
        return
    named = len(texts) * ROWS_A_KEY < held
    if named:
        names = list(texts)
        for first in range(0, len(names), NAMES_AT_ONCE):
            connection.execute(delete_named(table), [names[first : first + NAMES_AT_ONCE]])
    if any(texts.values()) or (held and not named):
        staged_rows(connection, table, texts.items())
        if held and not named:
            connection.execute(delete_staged(table))
        _insert(connection, table)


def _insert_few(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    texts: Iterable[tuple[str, bytes | None]],
) -> None:
    given = [(key, text.decode()) for key, text in texts if text is not None]
    if given:
        connection.execute(insert_given(table), list(map(list, zip(*given, strict=True))))


def _insert(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    for statement in insert_statements(table):
        connection.execute(statement)


def sifted(connection: duckdb.DuckDBPyConnection, rows: Staged) -> Staged:
    """The batch without the rows that DuckDB refuses, each of which becomes a note.

    This is slow, and only for a batch that was refused as a whole.
    """
    kept = folded(Staged(), rows)
    for table, texts in rows.keyed.items():
        for key, text in texts.items():
            why = _refusal(connection, table, text)
            if why:
                refuse(kept, table, key, why)
    for table, texts in rows.lost.items():
        for key, text in texts.items():
            if _refusal(connection, table, text):
                del kept.lost[table][key]
    kept.added.clear()
    for name, text in rows.added:
        why = _refusal(connection, CHANGELOG, text)
        if why:
            refuse_entry(kept, name, text, why)
        else:
            kept.added.append((name, text))
    return kept


def _refusal(connection: duckdb.DuckDBPyConnection, table: Table, text: bytes | None) -> str:
    """Why DuckDB refuses that row; "" if it does not."""
    try:
        if text is not None:
            connection.execute(f"SELECT from_json(?, '{table.structure}')", [text.decode()])
    except ROW_REFUSED as error:
        return first_line(error)
    return ""
