"""Runs a user's SQL on a published snapshot: one SELECT, read-only, no file but the snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from schemas.errors import QueryFailed
from sinks.duckdb.errors import MESSAGE_CHARACTERS_MAX
from sinks.duckdb.literals import literal
from sinks.duckdb.schema import SCHEMA
from sinks.duckdb.snapshot import open_snapshot

SQL_CHARACTERS_MAX = 1024 * 1024  # what a program might generate; parsing it takes a second
MEMORY_LIMIT = "1GB"  # nothing is spilled: a query that needs more fails, saying so
ROWS_PER_FETCH = 1_000  # held in memory at a time, beside what DuckDB holds

SQL_OWN = "duckdb -readonly pypi.duckdb"
# EXPLAIN ANALYZE executes its statement: so only a SELECT is allowed.
_EXPLAINED = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*EXPLAIN(?:\s+ANALYZE)?(?:\s*\([^()]*\))?\s(.*)",
    re.IGNORECASE | re.DOTALL,
)
# DuckDB's suggestions that name a table of our internal schema.
_OURS_ALONE = re.compile(rf'\sDid you mean "{SCHEMA}\.[^"\n]*"\?')
_WHAT_THERE_IS = "`show tables`, `describe TABLE`; macros are in docs/duckdb-reference.md"
_EXAMPLES = "docs/cookbook.md has queries to begin with"
_HINTS: dict[type[Exception], str] = {
    duckdb.CatalogException: _WHAT_THERE_IS,
    duckdb.BinderException: _WHAT_THERE_IS,
    duckdb.ConversionException: "`describe TABLE` has the types; TRY_CAST gives NULL for the rest",
    duckdb.PermissionException: f"no file is read here but the published one; else use {SQL_OWN}",
    duckdb.InvalidInputException: "docs/duckdb-reference.md says what a macro or function takes",
}

Row = tuple[object, ...]


class Answer(NamedTuple):
    """Column names, each once, and the rows in pieces of up to ROWS_PER_FETCH."""

    columns: tuple[str, ...]
    pieces: Iterator[list[Row]]


@contextmanager
def answered(path: Path, sql: str) -> Iterator[Answer]:
    """The rows of `sql`, to be read while the context lasts.

    Raises NotPublished, ViewCorrupt, StorageFailed; QueryFailed, also while rows are read.
    """
    with open_snapshot(path, memory_limit=MEMORY_LIMIT) as connection:
        yield answer_of(connection, sql)


def answer_of(connection: duckdb.DuckDBPyConnection, sql: str, memory_limit: str = "") -> Answer:
    """The rows of `sql` on a locked-down connection. Raises QueryFailed."""
    with failing(memory_limit):
        check(connection, sql)
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        return Answer(_once_each(names), _pieces(cursor, memory_limit))


def write_parquet(path: Path, sql: str, target: Path) -> None:
    """Write the rows of `sql` as a Parquet file, the only file that DuckDB may write.

    Raises as `answered`.
    """
    with open_snapshot(path, memory_limit=MEMORY_LIMIT, writable=target) as connection, failing():
        check(connection, sql)
        # `query` takes the text as a value, so nothing in it can end this statement.
        copy = f"COPY (FROM query({literal(sql)})) TO {literal(target)}"
        connection.execute(f"{copy} (FORMAT parquet, COMPRESSION zstd)")


def check(
    connection: duckdb.DuckDBPyConnection, sql: str, characters_max: int = SQL_CHARACTERS_MAX
) -> None:
    """Raise QueryFailed unless it is one SELECT, or EXPLAIN of one; duckdb.Error if it is no SQL.

    Nothing is executed. What a SELECT can reach is limited by the connection itself.
    """
    if len(sql) > characters_max:
        raise QueryFailed(
            f"the SQL has more than {characters_max} characters", hint="ask in several queries"
        )
    kind = _kind(connection, sql)
    if kind is duckdb.StatementType.EXPLAIN:
        explained = _EXPLAINED.fullmatch(sql)
        if explained is None:
            raise QueryFailed(
                "EXPLAIN is only allowed for a SELECT",
                hint="EXPLAIN [ANALYZE] [(options)] SELECT …",
            )
        kind = _kind(connection, explained[1])
    if kind is not duckdb.StatementType.SELECT:
        raise QueryFailed(
            f"{kind.name} is not allowed here, only SELECT (or FROM, WITH, EXPLAIN)",
            hint=f"for anything else use a DuckDB of your own: {SQL_OWN}",
        )


def _kind(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.StatementType:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryFailed(
            f"one statement is expected, not {len(statements)}", hint="one SELECT, in quotes"
        )
    try:
        return statements[0].type
    except ValueError:  # a kind of statement that the binding has no name for (UPDATE EXTENSIONS)
        raise QueryFailed(
            "such a statement is not allowed here, only SELECT",
            hint=f"for anything else use a DuckDB of your own: {SQL_OWN}",
        ) from None


def _pieces(cursor: duckdb.DuckDBPyConnection, memory_limit: str) -> Iterator[list[Row]]:
    while True:
        with failing(memory_limit):
            rows: list[Row] = cursor.fetchmany(ROWS_PER_FETCH)
        if not rows:
            return
        yield rows


@contextmanager
def failing(memory_limit: str = "") -> Iterator[None]:
    """Turn DuckDB's errors into QueryFailed."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        message = f"the query needs more than {memory_limit or MEMORY_LIMIT} of memory"
        raise QueryFailed(message, hint=f"narrow it down, or use {SQL_OWN}") from error
    except (duckdb.Error, RuntimeError) as error:  # the binding's own errors
        raise QueryFailed(_told(error), hint=_HINTS.get(type(error), _EXAMPLES)) from error


def _told(error: Exception) -> str:
    """DuckDB's message in one line, without the drawing of the statement but with its advice."""
    text = _OURS_ALONE.sub("", str(error).partition("\nLINE ")[0])
    line = " ".join(part.strip() for part in text.splitlines() if part.strip())
    line = "".join(c if c.isprintable() else " " for c in line)
    return line[: 2 * MESSAGE_CHARACTERS_MAX]


def _once_each(names: list[str]) -> tuple[str, ...]:
    """Column names made unique, so that an object can hold them all."""
    taken: dict[str, None] = {}
    for name in names:
        chosen, number = name, 1
        while chosen in taken:
            chosen, number = f"{name}_{number}", number + 1
        taken[chosen] = None
    return tuple(taken)
