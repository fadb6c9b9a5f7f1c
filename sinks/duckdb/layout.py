"""Everything that a new DuckDB file is made with."""

from __future__ import annotations

from sinks.duckdb.comments import comment_statements
from sinks.duckdb.schema import table_statements
from sinks.duckdb.status import view_statements


def layout_statements() -> tuple[str, ...]:
    """Make all tables, views, macros and their comments, in an empty database."""
    return (*table_statements(), *view_statements(), *comment_statements())
