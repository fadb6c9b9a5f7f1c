"""Writes docs/duckdb-reference.md from the comments in the file; `--check` says if they agree.

`python -m scripts.duckdb_reference [--check] [SNAPSHOT]`; without a snapshot, an empty one is made.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from scripts.pages import write_or_check
from sinks.duckdb.layout import layout_statements
from sinks.duckdb.macros import MACROS
from sinks.duckdb.status import VIEWS

PAGE = Path(__file__).parents[1] / "docs/duckdb-reference.md"
HEAD = """\
# What is in the DuckDB file

Made by `scripts/duckdb_reference.py` from the comments in the file. [The DuckDB file](duckdb.md)
tells how to open it.

Only views and macros are promised. The tables behind them (schema `base`) have comments, too, and
may change with any version.
"""
MACROS_HEAD = """
## Macros

Those that give rows stand behind `FROM`, the others are part of an expression. A macro that cannot
answer from this file fails and says why: an empty result means that there is nothing. Names of
projects may be spelled in any way; times are UTC.

| gives | macro | |
| --- | --- | --- |
"""


def empty() -> duckdb.DuckDBPyConnection:
    """A database as the sink makes it, in memory."""
    connection = duckdb.connect()
    for statement in layout_statements():
        connection.execute(statement)
    return connection


def page(connection: duckdb.DuckDBPyConnection) -> str:
    """The public views and macros as the database itself explains them."""
    return f"{HEAD}\n## Views\n{_views(connection)}{MACROS_HEAD}{_macros(connection)}"


def _views(connection: duckdb.DuckDBPyConnection) -> str:
    """Each with its comment, its columns, their types and comments."""
    comments: dict[str, str] = dict(
        connection.execute(
            "SELECT view_name, comment FROM duckdb_views()"
            " WHERE schema_name = 'main' AND NOT internal"
        ).fetchall()
    )
    columns = connection.execute(
        "SELECT table_name, column_name, data_type, comment FROM duckdb_columns()"
        " WHERE schema_name = 'main' AND NOT internal ORDER BY table_name, column_index"
    ).fetchall()
    order = [view.name for view in VIEWS]
    parts = []
    for view in sorted(comments, key=order.index):
        rows = "".join(
            f"| `{name}` | {_short(kind)} | {_cell(text)} |\n"
            for table, name, kind, text in columns
            if table == view
        )
        head = "| column | type | |\n| --- | --- | --- |\n"
        parts.append(f"\n### {view}\n\n{comments[view]}\n\n{head}{rows}")
    return "".join(parts)


def _macros(connection: duckdb.DuckDBPyConnection) -> str:
    comments: dict[str, str] = dict(
        connection.execute(
            "SELECT function_name, comment FROM duckdb_functions()"
            " WHERE schema_name = 'main' AND NOT internal"
        ).fetchall()
    )
    return "".join(
        f"| {'rows' if each.table else 'value'} | `{each.call}` | {_cell(comments[each.name])} |\n"
        for each in MACROS
    )


def _short(kind: str) -> str:
    fields = 60  # of a struct: its names are in the comment, its types can be asked for
    return (
        kind if len(kind) <= fields else kind.partition("(")[0] + "(…)" + "[]" * kind.endswith("[]")
    )


def _cell(text: str | None) -> str:
    return (text or "").replace("|", r"\|")


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    files = [argument for argument in arguments if not argument.startswith("-")]
    connection = duckdb.connect(files[0], read_only=True) if files else empty()
    with connection:
        new = page(connection)
    return write_or_check(PAGE, new, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
