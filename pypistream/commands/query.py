"""`pypistream query`: SQL on the published snapshot."""

from __future__ import annotations

import click

from pypistream import options
from pypistream.interrupts import ending_at_once

FORMATS = ("table", "json", "jsonl", "csv", "parquet")


@click.command("query", short_help="SQL on the published DuckDB file.")
@options.place
@click.option("--format", type=click.Choice(FORMATS),
              help="[table on a terminal, jsonl into a pipe]")  # fmt: skip
@click.argument("query", metavar="SQL")
def command(**given: object) -> int:
    """Answer SQL from the snapshot DIR/pypi.duckdb, read-only. `-` reads the SQL from stdin.

    Tables: projects, releases, files, dependencies, classifiers, project_urls, vulnerabilities,
    roles, changelog, removed, removed_files, anomalies, exceptions, progress; views and macros are
    in docs/duckdb-reference.md. `duckdb DIR/pypi.duckdb` works as well.

    \b
    pypistream query "select name, version, summary from projects limit 5"
    pypistream query "select * from progress" --format json
    """  # noqa: D301  click's mark for lines that stay as they are
    with ending_at_once():
        from pypistream.read.querying import query

    return query(given)
