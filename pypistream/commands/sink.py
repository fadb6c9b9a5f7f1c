"""`pypistream sink`: one sink as a process of its own."""

from __future__ import annotations

import click

from pypistream import options
from pypistream.quick import load_logging


@click.command("sink", short_help="One sink as a process of its own, beside other roles.")
@options.place
@options.SNAPSHOT_EVERY
@options.dumps
@options.KEEP_REMOVED
@click.argument("sink", type=click.Choice(["duckdb", "dump"]))
def command(sink: str, **given: object) -> int:
    """Keep the DuckDB file or the dump of a data directory up to date with the log.

    It reads the log and never writes into it. Any number of sinks may run, but each sink of a
    directory only once; `pypistream dump` on the directory asks this process to publish. Ctrl-C or
    SIGTERM ends it.

    \b
    pypistream sink duckdb --kafka 127.0.0.1:9092 --data /srv/pypistream/duckdb
    """  # noqa: D301  click's mark for lines that stay as they are
    load_logging()
    from pypistream.children.sink_role import sink as run_sink

    return run_sink(given, sink)
