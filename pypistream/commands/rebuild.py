"""`pypistream rebuild`: make what a sink holds anew from the log."""

from __future__ import annotations

import click

from pypistream import options


@click.command("rebuild", short_help="Rebuild the DuckDB file or the dump from the log.")
@options.place
@click.argument("sink", type=click.Choice(["duckdb", "dump", "all"]), default="all")
def command(sink: str, **given: object) -> int:
    """Empty a sink and fill it from the log's first record. What is published stays until then."""
    from pypistream.children.publishing import rebuild

    return rebuild(given, sink)
