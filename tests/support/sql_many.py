"""Runs hostile SQL in the sandbox of `/v1/sql` and tells a tracer from where on to look.

`python -m tests.support.sql_many ROOT FILE FOLDER WEB`; prints how many were refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import QueryFailed
from sinks.duckdb import console as duckdb_console
from sinks.duckdb.console import console
from tests.support.hostile_sql import REFUSED

BEGINS, ENDS = "/tracing-begins-here", "/tracing-ends-here"


def statements(file: str, folder: str, web: str) -> Iterator[str]:
    """All that must be refused, with places in them that are there."""
    for each in REFUSED.values():
        for template in each:
            yield template.replace("{file}", file).replace("{folder}", folder).replace("{web}", web)


def main(root: str, file: str, folder: str, web: str) -> None:
    refused = 0
    with console(Path(root) / "pypi.duckdb", Path(root)) as connection:
        duckdb_console.answer(connection, "SELECT count(*) FROM projects", "json")
        Path(BEGINS).exists()
        for sql in statements(file, folder, web):
            try:
                duckdb_console.answer(connection, sql, "json")
            except QueryFailed:
                refused += 1
        Path(ENDS).exists()
    sys.stdout.write(str(refused))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
