"""Writes a batch into the tables: staged as texts, read by DuckDB, merged in one transaction."""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from schemas.records import Config
from sinks import notes
from sinks.duckdb import lines, memo
from sinks.duckdb.errors import first_line
from sinks.duckdb.removed import keep_lost, staged_rows
from sinks.duckdb.rows import Staged, staged
from sinks.duckdb.schema import (
    CHANGELOG,
    KEYED,
    REMOVED_OF,
    SCHEMA,
    Table,
    delete_named,
    delete_staged,
    insert_given,
    insert_statements,
)
from sinks.sink import Standing
from streams.log import Record

Lengths = dict[str, int]
"""The most rows that each table may have, by its name; 0 is exact."""

# Including deleted rows that are not yet reclaimed; an exact count takes 2 ms per table of full
# size.
_LENGTHS = (
    "SELECT table_name, estimated_size FROM duckdb_tables()"
    f" WHERE database_name = current_database() AND schema_name = '{SCHEMA}'"
)
# A key that is named in the statement costs as much as scanning the keys of this many rows.
ROWS_A_KEY = 600
# A statement that deletes rows by their keys keeps their blocks in memory until it ends: for 1 000
# rows of a file of all of PyPI 425 MiB were too few.
NAMES_AT_ONCE = 200
# Up to this many rows of a table are passed as a statement's parameters: going through a stage
# costs 1 ms more, however few rows there are.
FEW_ROWS = 100


def lengths_of(connection: duckdb.DuckDBPyConnection) -> Lengths:
    """To be asked when a file is opened: it takes 2 ms, and `write` goes on from there."""
    return dict(connection.execute(_LENGTHS).fetchall())


def write(
    connection: duckdb.DuckDBPyConnection,
    rows: Staged,
    standing: Standing,
    keep: str,
    lengths: Lengths,
) -> None:
    """One transaction: the rows, where the view stands after them, and no cut any more.

    `keep` is one of KEEP_REMOVED. `lengths` grow with what is added.
    """
    try:
        _write(connection, rows, standing, keep, lengths, new=True)
    except duckdb.ConstraintException:
        if not rows.lines:
            raise
        connection.rollback()
        _write(connection, rows, standing, keep, lengths, new=False)
    if rows.lines:
        lengths.update(lengths_of(connection))


def _write(
    connection: duckdb.DuckDBPyConnection,
    rows: Staged,
    standing: Standing,
    keep: str,
    lengths: Lengths,
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
    texts = {memo.STANDING: notes.standing_text(standing), memo.CUT: None}
    memo.remember(connection, texts)
    connection.commit()


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


def sifted(
    connection: duckdb.DuckDBPyConnection, records: Sequence[Record], config: Config
) -> Staged:
    """The batch without the rows that DuckDB refuses, each of which becomes a note.

    This is slow, and only for a batch that was refused as a whole.
    """
    spoilt: dict[int, str] = {}
    for place, record in enumerate(records):
        try:
            _try(connection, staged([record], config))
        except duckdb.Error as error:
            spoilt[place] = first_line(error)
    return staged(records, config, spoilt)


def _try(connection: duckdb.DuckDBPyConnection, rows: Staged) -> None:
    """Raise DuckDB's error for these rows, if any; write nothing."""
    additions = [(CHANGELOG, text) for _, text in rows.added]
    keyed = [(table, text) for table, texts in rows.keyed.items() for text in texts.values()]
    for table, text in (*keyed, *additions):
        if text is not None:
            query = f"SELECT from_json(?, '{table.structure}')"
            connection.execute(query, [text.decode()]).fetchall()
